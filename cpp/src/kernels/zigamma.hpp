// Rows of zero-inflated gamma variates.

#pragma once

#include "compaction.hpp"
#include "tiles.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/reference.hpp"

namespace vaexprs::VAEXPRS_ISA {

static inline std::size_t sample_zigamma(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    std::size_t n = 0;
    for (std::uint32_t gene = 0; gene < row.n_genes; ++gene) {
        if (!(row.mean[gene] >= 0.0f && row.mean[gene] < 0x1p63f)) return kBadMean;
        const float value = reference::zigamma({row.seed, row.cell, gene}, row.mean[gene],
                                               row.inverse_dispersion[gene], row.zero_logits[gene]);
        if (value == 0.0f) continue;
        out.columns[n] = static_cast<std::int32_t>(gene);
        out.values[n++] = value;
    }
    return n;
}

}  // namespace vaexprs::VAEXPRS_ISA
