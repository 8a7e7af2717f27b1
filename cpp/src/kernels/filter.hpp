// Markov's inequality as a filter: one random byte settles most entries of a sparse row as zero.
//
// An observation is not zero when its uniform v is below P(X > 0), and P(X > 0) <= mean for every
// law of counts. The first byte of v alone shows v >= mean for most entries when means are small:
// no logarithm, no exponential, a sixteenth of a Threefry block each.

#pragma once

#include "vaexprs/kernels.hpp"

#include "compaction.hpp"
#include "tiles.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// A gene and, below it, the first byte of its uniform, in one word.
VAEXPRS_INLINE U32 candidate_gene(U32 candidate) {
    return candidate >> 8;
}

/// 1 / (1 + exp(zero_logits)), with an error below 1e-6.
VAEXPRS_INLINE F32 weight_of(F32 zero_logits) {
    return 1.0f / (exp_float(larger(smaller(zero_logits, 87.0f), -87.0f)) + 1.0f);
}

/// Whether all means are in [0, limit), given the largest of their bits as integers.
VAEXPRS_INLINE bool means_are_good(const ObservationRow& row, U32 largest, float limit) {
    // As integers the numbers in [0, limit) are below the limit, and all others above it but -0.
    if (bits_of(largest < __builtin_bit_cast(std::uint32_t, limit)) == kAllLanes) return true;
    for (std::uint32_t gene = 0; gene < row.n_genes; ++gene) {
        const float mean = row.mean_of(gene);
        if (!(mean >= 0.0f && mean < limit)) return false;
    }
    return true;
}

/// Writes the genes whose first byte leaves room for a non-zero, in order, with their means, and
/// returns how many; kBadMean if a mean is not in [0, limit).
static inline std::size_t filter_candidates(const ObservationRow& row, float limit,
                                            std::uint32_t* candidates, float* candidate_means) {
    constexpr std::uint32_t kStride = 2 * kTileBytes;
    const float* all_means = row.parameters[0];
    const RowStream stream = row_stream(row.cell, Purpose::observation);
    std::size_t n = 0;
    U32 largest{};
    alignas(64) std::uint32_t words[kTwoTilesWords];
    alignas(64) float last_means[kStride];
    for (std::uint32_t first = 0, i = 0; first < row.n_genes; first += kStride, ++i) {
        fill_two_tiles(stream, i, words);
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(words);
        const float* means = all_means + first;
        std::uint32_t n_genes = row.n_genes - first;
        if (n_genes >= kStride) {
            n_genes = kStride;
        } else {
            // The row may end within a vector: its end is read from a copy with zeros behind.
            std::memset(last_means, 0, sizeof last_means);
            std::memcpy(last_means, means, n_genes * sizeof(float));
            means = last_means;
        }
        U32 gene = (lane_numbers() + first) << 8;
        for (std::uint32_t j = 0; j < n_genes; j += kLanes) {
            const U32 byte = widen_bytes(bytes + j);
            const F32 mean = load<F32>(means + j) * row.factor;
            const U32 bits = __builtin_bit_cast(U32, mean);
            largest = bits > largest ? bits : largest;
            const F32 v = to_float(__builtin_bit_cast(I32, byte)) * 0x1p-8f;  // rounded down
            const Compaction kept(bits_of(v < mean));
            kept.store(candidates + n, gene | byte);
            // Now that it is in a register: a gather later would take twice as long.
            kept.store(candidate_means + n, mean);
            n += kept.count();
            gene += kLanes << 8;
        }
    }
    return means_are_good(row, largest, limit) ? n : kBadMean;
}

}  // namespace vaexprs::VAEXPRS_ISA
