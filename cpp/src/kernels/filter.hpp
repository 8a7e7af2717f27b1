// Markov's inequality as a filter: one random byte settles most entries of a sparse row as zero.
//
// An observation is not zero when its uniform v is below P(X > 0), and P(X > 0) <= mean for every
// law of counts. The first byte of v alone shows v >= mean for most entries when means are small:
// no logarithm, no exponential, a sixty-fourth of a Threefry block each.

#pragma once

#include "compaction.hpp"
#include "tiles.hpp"
#include "vaexprs/kernels.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// A gene and the first byte of its uniform, in one word.
VAEXPRS_INLINE U32 candidate_gene(U32 candidate) {
    return candidate >> 8;
}

/// Writes the genes whose first byte leaves room for a non-zero, in order, and returns how many;
/// kBadMean if a mean is not in [0, limit).
VAEXPRS_INLINE std::size_t filter_candidates(const ObservationRow& row, float limit,
                                             std::uint32_t* candidates) {
    const RowStream stream = row_stream(row.seed, Purpose::observation, row.cell);
    std::size_t n = 0;
    U32 worst{};
    alignas(64) std::uint8_t bytes[kTileBytes];
    alignas(64) float last_means[kTileBytes];
    for (std::uint32_t tile = 0; tile * kTileBytes < row.n_genes; ++tile) {
        fill_tile_bytes(stream, tile, bytes);
        const std::uint32_t first_gene = tile * kTileBytes;
        const float* means = row.mean + first_gene;
        std::uint32_t n_genes = row.n_genes - first_gene;
        if (n_genes >= kTileBytes) {
            n_genes = kTileBytes;
        } else {
            // The row may end within a vector: the last tile is read from a copy with zeros.
            std::memset(last_means, 0, sizeof last_means);
            std::memcpy(last_means, means, n_genes * sizeof(float));
            means = last_means;
        }
        U32 packed = (lane_numbers() + first_gene) << 8;
        for (std::uint32_t i = 0; i < n_genes; i += kLanes) {
            const U32 byte = widen_bytes(bytes + i);
            const F32 mean = load<F32>(means + i);
            // As integers the numbers in [0, limit) are below the limit, all others above.
            const U32 bits = __builtin_bit_cast(U32, mean);
            worst = bits > worst ? bits : worst;
            const F32 v = to_float(__builtin_bit_cast(I32, byte)) * 0x1p-8f;  // v rounded down
            const Compaction kept(bits_of(v < mean));
            kept.store(candidates + n, packed | byte);
            n += kept.count();
            packed += kLanes << 8;
        }
    }
    if (bits_of(worst < __builtin_bit_cast(std::uint32_t, limit)) != kAllLanes) {
        // All but -0, which is as good as 0.
        for (std::uint32_t gene = 0; gene < row.n_genes; ++gene) {
            if (!(row.mean[gene] >= 0.0f && row.mean[gene] < limit)) return kBadMean;
        }
    }
    return n;
}

}  // namespace vaexprs::VAEXPRS_ISA
