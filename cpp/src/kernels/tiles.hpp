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

VAEXPRS_INLINE RowStream row_stream(std::uint64_t seed, Purpose purpose, std::uint64_t cell) {
    return {stream_key(seed, purpose), static_cast<std::uint32_t>(cell),
            static_cast<std::uint32_t>(cell >> 32)};
}

VAEXPRS_INLINE Words<Paired> random_words(const RowStream& stream, Paired index,
                                          std::uint32_t attempt = 0) {
    return threefry4x32(pair_of(stream.cell_low), pair_of(stream.cell_high), index,
                        pair_of(attempt), stream.key);
}

/// Tiles are made by twos, so that there is a pair of vectors to fill on every instruction set.
inline constexpr std::uint32_t kTwoTilesWords = 2 * kTileWords;

/// Words 128 i ... 128 i + 127 of a row, as streams.hpp lays them out.
VAEXPRS_INLINE void fill_two_tiles(const RowStream& stream, std::uint32_t i, std::uint32_t* words) {
    for (std::uint32_t offset = 0; offset < 2 * kTileBlocks; offset += kPairedLanes) {
        const U32 block = lane_numbers() + (2 * kTileBlocks * i + offset);
        const Words<Paired> made = random_words(stream, {block, block + kLanes});
        const auto put = [&](std::uint32_t position, Paired pair) {
            const auto at = [&](std::uint32_t of) {
                return of / kTileBlocks * kTileWords + position * kTileBlocks + of % kTileBlocks;
            };
            store(words + at(offset), pair.a);
            store(words + at(offset + kLanes), pair.b);
        };
        put(0, made.w0);
        put(1, made.w1);
        put(2, made.w2);
        put(3, made.w3);
    }
}

}  // namespace vaexprs::VAEXPRS_ISA
