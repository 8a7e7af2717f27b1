// Rows of normals.

#pragma once

#include <algorithm>

#include "vaexprs/normal.hpp"

#include "tiles.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// Makes normals of two tiles of words, of which n_words are asked for.
///
/// Positions 0 and 1 of the blocks of a tile make a pair of normals, 2 and 3 another. Both go
/// through the same steps together: each step waits for the one before.
VAEXPRS_INLINE void to_normals(const std::uint32_t* words, std::uint32_t n_words, float* to) {
    constexpr std::uint32_t kHalf = 2 * kTileBlocks;
    for (std::uint32_t tile = 0; tile < n_words; tile += kTileWords) {
        for (std::uint32_t i = tile; i < tile + kTileBlocks; i += kLanes) {
            const auto pair = [&](std::uint32_t at) {
                return Paired{load<U32>(words + at), load<U32>(words + at + kHalf)};
            };
            const auto made = box_muller<PairOf<F32>>(pair(i), pair(i + kTileBlocks));
            store(to + i, made.first.a);
            store(to + i + kTileBlocks, made.second.a);
            store(to + i + kHalf, made.first.b);
            store(to + i + kHalf + kTileBlocks, made.second.b);
        }
    }
}

/// The last two tiles of a row go by way of a copy.
static inline void fill_normal(const Cell& cell, Purpose purpose, std::uint32_t n, float* out) {
    const RowStream stream = row_stream(cell, purpose);
    alignas(64) std::uint32_t words[kTwoTilesWords];
    alignas(64) float made[kTwoTilesWords];
    for (std::uint32_t first = 0, i = 0; first < n; first += kTwoTilesWords, ++i) {
        const std::uint32_t left = n - first;
        // Rows of latent variables are short: half of two tiles would be made for nothing.
        // (Measured with AVX2 for 11 of them, drawn from a mixture: 37 ns a cell of 170.)
        if (left <= kTileWords) {
            fill_tiles<1>(stream, 2 * i, words);
        } else {
            fill_two_tiles(stream, i, words);
        }
        float* to = left >= kTwoTilesWords ? out + first : made;
        to_normals(words, std::min(left, kTwoTilesWords), to);
        if (left < kTwoTilesWords) std::memcpy(out + first, made, left * sizeof(float));
    }
}

}  // namespace vaexprs::VAEXPRS_ISA
