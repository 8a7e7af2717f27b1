// Rows of uniforms and normals.

#pragma once

#include "tiles.hpp"
#include "vaexprs/normal.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// Writes whole tiles where they fit, and the last one by way of a copy.
template <class FillTile>
VAEXPRS_INLINE void fill_tiles(std::uint32_t n, float* out, const FillTile& fill_tile) {
    std::uint32_t tile = 0;
    for (; (tile + 1) * kTileWords <= n; ++tile) fill_tile(tile, out + tile * kTileWords);
    if (const std::uint32_t rest = n - tile * kTileWords; rest > 0) {
        float last[kTileWords];
        fill_tile(tile, last);
        std::memcpy(out + tile * kTileWords, last, rest * sizeof(float));
    }
}

static inline void fill_uniform(std::uint64_t seed, Purpose purpose, std::uint64_t cell,
                                std::uint32_t n, float* out) {
    const RowStream stream = row_stream(seed, purpose, cell);
    const auto to_uniform = [](U32 word) {
        return (to_float(__builtin_bit_cast(I32, word >> 9)) + 0.5f) * 0x1p-23f;
    };
    fill_tiles(n, out, [&](std::uint32_t tile, float* to) {
        for_each_block(stream, tile, [&](std::uint32_t offset, const Words<U32>& words) {
            store(to + offset, to_uniform(words.w0));
            store(to + offset + kTileBlocks, to_uniform(words.w1));
            store(to + offset + kTileBlocks * 2, to_uniform(words.w2));
            store(to + offset + kTileBlocks * 3, to_uniform(words.w3));
        });
    });
}

static inline void fill_normal(std::uint64_t seed, Purpose purpose, std::uint64_t cell,
                               std::uint32_t n, float* out) {
    const RowStream stream = row_stream(seed, purpose, cell);
    fill_tiles(n, out, [&](std::uint32_t tile, float* to) {
        for_each_block(stream, tile, [&](std::uint32_t offset, const Words<U32>& words) {
            const NormalPair<F32> a = box_muller<F32>(words.w0, words.w1);
            const NormalPair<F32> b = box_muller<F32>(words.w2, words.w3);
            store(to + offset, a.first);
            store(to + offset + kTileBlocks, a.second);
            store(to + offset + kTileBlocks * 2, b.first);
            store(to + offset + kTileBlocks * 3, b.second);
        });
    });
}

}  // namespace vaexprs::VAEXPRS_ISA
