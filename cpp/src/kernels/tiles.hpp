// Random words of one cell, two vectors of Threefry blocks at a time.

#pragma once

#include "vaexprs/streams.hpp"

#include "paired.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// What stays the same along the row of a cell.
struct RowStream {
    ThreefryKey key;
    std::uint32_t cell_low, cell_high;
};

VAEXPRS_INLINE RowStream row_stream(const Cell& cell, Purpose purpose) {
    return {stream_key(cell, purpose), static_cast<std::uint32_t>(cell.index),
            static_cast<std::uint32_t>(cell.index >> 32)};
}

VAEXPRS_INLINE Words<Paired> random_words(const RowStream& stream, Paired index,
                                          std::uint32_t attempt = 0) {
    return threefry4x32(pair_of(stream.cell_low), pair_of(stream.cell_high), index,
                        pair_of(attempt), stream.key);
}

/// Stores the words of blocks side by side as streams.hpp lays them out; `offset` is that of the
/// first of them in the tile that `words` begins with.
VAEXPRS_INLINE void store_tiled(std::uint32_t* words, std::uint32_t offset,
                                const Words<U32>& made) {
    std::uint32_t* to = words + offset / kTileBlocks * kTileWords + offset % kTileBlocks;
    store(to, made.w0);
    store(to + kTileBlocks, made.w1);
    store(to + 2 * kTileBlocks, made.w2);
    store(to + 3 * kTileBlocks, made.w3);
}

/// Fills tiles of a row, the first of them number `tile`.
template <std::uint32_t kTiles>
VAEXPRS_INLINE void fill_tiles(const RowStream& stream, std::uint32_t tile, std::uint32_t* words) {
    constexpr std::uint32_t kBlocks = kTiles * kTileBlocks;
    if constexpr (kBlocks < kPairedLanes) {
        // A vector holds the tile, and there is nothing to pair it with.
        const U32 block = lane_numbers() + kTileBlocks * tile;
        store_tiled(words, 0,
                    threefry4x32(broadcast(stream.cell_low), broadcast(stream.cell_high), block,
                                 U32{}, stream.key));
    } else {
        for (std::uint32_t offset = 0; offset < kBlocks; offset += kPairedLanes) {
            const U32 block = lane_numbers() + (kTileBlocks * tile + offset);
            const Words<Paired> made = random_words(stream, {block, block + kLanes});
            store_tiled(words, offset, {made.w0.a, made.w1.a, made.w2.a, made.w3.a});
            store_tiled(words, offset + kLanes, {made.w0.b, made.w1.b, made.w2.b, made.w3.b});
        }
    }
}

/// Tiles are made by twos, so that there is a pair of vectors to fill on every instruction set.
inline constexpr std::uint32_t kTwoTilesWords = 2 * kTileWords;

/// Words 128 i ... 128 i + 127 of a row.
VAEXPRS_INLINE void fill_two_tiles(const RowStream& stream, std::uint32_t i, std::uint32_t* words) {
    fill_tiles<2>(stream, 2 * i, words);
}

}  // namespace vaexprs::VAEXPRS_ISA
