// Rows of normal values: every entry but exact zeros is kept, or every positive one.

#pragma once

#include "vaexprs/kernels.hpp"

#include "check.hpp"
#include "compaction.hpp"
#include "fill.hpp"
#include "kernels_of_isa.hpp"

namespace vaexprs::VAEXPRS_ISA {

template <bool rectified>
static std::size_t sample_normal(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    const float *mean = row.parameters[0], *scale = row.parameters[1];
    if (!all_within(mean, row.n_genes, -kLargest, kLargest)) return kBadMean;
    auto* values = reinterpret_cast<float*>(scratch);
    fill_normal(row.cell, Purpose::observation, row.n_genes, values);
    for (std::uint32_t gene = 0; gene < row.n_genes; ++gene)
        values[gene] = mean[gene] + scale[gene] * values[gene];
    std::size_t n = 0;
    for (std::uint32_t first = 0; first < row.n_genes; first += kLanes) {
        const U32 gene = lane_numbers() + first;
        const F32 value = load<F32>(values + first);
        const auto shown = rectified ? value > 0.0f : value != 0.0f;
        const Compaction kept(bits_of(shown & (gene < row.n_genes)));
        kept.store(out.columns + n, gene);
        kept.store(out.values + n, value);
        n += kept.count();
    }
    return n;
}

std::size_t sample_gaussian(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return sample_normal<false>(row, out, scratch);
}

std::size_t sample_rectified_gaussian(const ObservationRow& row, SparseRow out,
                                      std::uint32_t* scratch) {
    return sample_normal<true>(row, out, scratch);
}

}  // namespace vaexprs::VAEXPRS_ISA
