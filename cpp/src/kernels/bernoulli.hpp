// Rows of zeros and ones: the filter is nearly all there is to do.

#pragma once

#include "vaexprs/reference.hpp"

#include "filter.hpp"
#include "kernels_of_isa.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// The first byte of v decides unless it is the one in which the mean lies; then all bits do.
std::size_t sample_bernoulli(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    constexpr float kJustAboveOne = 0x1.000002p0f;
    auto* means = reinterpret_cast<float*>(scratch + row.n_genes + kPadding);
    const std::size_t n_candidates = filter_candidates(row, kJustAboveOne, scratch, means);
    if (n_candidates == kBadMean) return kBadMean;
    std::size_t n = 0;
    for (std::size_t i = 0; i < n_candidates; i += kLanes) {
        const I32 there = lane_numbers() < static_cast<std::uint32_t>(n_candidates - i);
        const U32 candidate = load<U32>(scratch + i) & __builtin_bit_cast(U32, there);
        const U32 gene = candidate_gene(candidate);
        const F32 v_above = to_float(__builtin_bit_cast(I32, (candidate & 0xFFu) + 1u)) * 0x1p-8f;
        const std::uint32_t here = bits_of(there);
        const std::uint32_t one = here & bits_of(v_above <= load<F32>(means + i));
        std::uint32_t kept = one;
        for (std::uint32_t rest = here & ~one; rest != 0; rest &= rest - 1) {
            const auto lane = static_cast<std::uint32_t>(__builtin_ctz(rest));
            const Site site{row.cell, gene[lane]};
            if (reference::bernoulli(site, row.mean_of(site.index)) != 0.0f) kept |= 1u << lane;
        }
        const Compaction compaction(kept);
        compaction.store(out.columns + n, gene);
        store(out.values + n, broadcast(1.0f));
        n += compaction.count();
    }
    return n;
}

}  // namespace vaexprs::VAEXPRS_ISA
