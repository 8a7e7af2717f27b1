// The laws of counts in float32: where their inversion starts.

#pragma once

#include "counts.hpp"
#include "kernels_of_isa.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// p = weight p(0), tail = weight (1 - p(0)) from t = -log p(0).
VAEXPRS_INLINE void set_tail(const CountArrays& s, std::size_t i, F32 t, F32 weight) {
    const F32 zero = exp_float(-smaller(t, 87.0f));
    store(s.p + i, weight * zero);
    store(s.tail + i, weight * (1.0f - zero));
}

struct PoissonLaw {
    const ObservationRow& row;

    void prepare(const CountArrays& s, std::size_t n) const {
        for (std::size_t i = 0; i < n; i += kLanes) {
            const F32 mean = load<F32>(s.mean + i);
            store(s.first + i, mean);
            store(s.slope + i, F32{});
            set_tail(s, i, mean, broadcast(1.0f));
        }
    }

    float exact(std::uint32_t gene) const {
        return reference::poisson({row.cell, gene}, row.mean_of(gene));
    }
};

/// p(0) = y^theta with y = theta / (theta + mean) = 1 - r.
struct NegativeBinomialLaw {
    const ObservationRow& row;

    void prepare(const CountArrays& s, std::size_t n) const {
        for (std::size_t i = 0; i < n; i += kLanes) {
            const U32 gene = candidate_gene(load<U32>(s.candidate + i));
            const F32 mean = load<F32>(s.mean + i);
            // Beyond 2^24 the law is that at 2^24 to within the tolerance, and y would lose it.
            const F32 theta = smaller(gather(row.parameters[1], gene), 0x1p24f);
            // Means and thetas this small give zeros; the bound keeps all numbers finite.
            const F32 inverse = 1.0f / larger(mean + theta, 0x1p-100f);
            store(s.slope + i, mean * inverse);
            store(s.first + i, theta * (mean * inverse));
            store(s.p + i, theta * inverse);
            store(s.tail + i, theta);
        }
        for (std::size_t i = 0; i < n; i += kLanes) {
            const F32 r = load<F32>(s.slope + i), y = load<F32>(s.p + i);
            // Near 1 y has lost what r still knows: (1 - y) - r is the rounding error of y, and
            // log(y + d) = log y + d / y. Where y is far from 1 the term is as small as 2^-24.
            const F32 log_y = log_float(y) + ((1.0f - y) - r);
            store(s.tail + i, -load<F32>(s.tail + i) * log_y);
        }
        for (std::size_t i = 0; i < n; i += kLanes) {
            set_tail(s, i, load<F32>(s.tail + i), broadcast(1.0f));
        }
    }

    float exact(std::uint32_t gene) const {
        return reference::nb({row.cell, gene}, row.mean_of(gene), row.parameters[1][gene]);
    }
};

/// The weight scales the tails, and one uniform decides the extra zero and the count together.
struct ZeroInflatedLaw {
    const ObservationRow& row;

    void prepare(const CountArrays& s, std::size_t n) const {
        NegativeBinomialLaw{row}.prepare(s, n);
        for (std::size_t i = 0; i < n; i += kLanes) {
            const U32 gene = candidate_gene(load<U32>(s.candidate + i));
            const F32 weight = weight_of(gather(row.parameters[2], gene));
            store(s.p + i, weight * load<F32>(s.p + i));
            store(s.tail + i, weight * load<F32>(s.tail + i));
        }
    }

    float exact(std::uint32_t gene) const {
        return reference::zinb({row.cell, gene}, row.mean_of(gene), row.parameters[1][gene],
                               row.parameters[2][gene]);
    }
};

std::size_t sample_poisson(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<PoissonLaw>(row, out, scratch);
}

std::size_t sample_nb(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<NegativeBinomialLaw>(row, out, scratch);
}

std::size_t sample_zinb(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<ZeroInflatedLaw>(row, out, scratch);
}

}  // namespace vaexprs::VAEXPRS_ISA
