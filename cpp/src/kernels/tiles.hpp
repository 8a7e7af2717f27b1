// The tiles of streams.hpp, computed a vector of Threefry blocks at a time.

#pragma once

#include "lanes.hpp"
#include "vaexprs/streams.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// What stays the same along the row of a cell.
struct RowStream {
    ThreefryKey key;
    std::uint32_t cell_low, cell_high;
};

VAEXPRS_INLINE RowStream row_stream(std::uint64_t seed, Purpose purpose, std::uint64_t cell) {
    return {stream_key(seed, purpose), static_cast<std::uint32_t>(cell),
            static_cast<std::uint32_t>(cell >> 32)};
}

VAEXPRS_INLINE Words<U32> random_words(const RowStream& stream, U32 index) {
    return threefry4x32(broadcast(stream.cell_low), broadcast(stream.cell_high), index, U32{},
                        stream.key);
}

/// Calls each(offset, words) for the blocks of a tile, kLanes of them at a time: word j of the
/// block in a lane belongs at position 16 j + offset + lane of the tile.
template <class Each>
VAEXPRS_INLINE void for_each_block(const RowStream& stream, std::uint32_t tile, const Each& each) {
    static_assert(kTileBlocks % kLanes == 0);
    for (std::uint32_t offset = 0; offset < kTileBlocks; offset += kLanes) {
        each(offset, random_words(stream, lane_numbers() + (tile * kTileBlocks + offset)));
    }
}

VAEXPRS_INLINE void fill_tile_bytes(const RowStream& stream, std::uint32_t tile,
                                    std::uint8_t* bytes) {
    for_each_block(stream, tile, [&](std::uint32_t offset, const Words<U32>& words) {
        store(reinterpret_cast<std::uint32_t*>(bytes) + offset, words.w0);
        store(reinterpret_cast<std::uint32_t*>(bytes) + offset + kTileBlocks, words.w1);
        store(reinterpret_cast<std::uint32_t*>(bytes) + offset + kTileBlocks * 2, words.w2);
        store(reinterpret_cast<std::uint32_t*>(bytes) + offset + kTileBlocks * 3, words.w3);
    });
}

}  // namespace vaexprs::VAEXPRS_ISA
