// The table of kernels of one instruction set. This file is compiled once for each: CMake sets the
// flags, VAEXPRS_ISA, the namespace, and VAEXPRS_ISA_NAME, its name for people.

#include "../kernel_tables.hpp"
#include "bernoulli.hpp"
#include "counts.hpp"
#include "fill.hpp"
#include "zigamma.hpp"

namespace vaexprs::VAEXPRS_ISA {

namespace {

struct PoissonLanes {
    const ObservationRow& row;

    CountLanes lanes(F32 mean, U32) const {
        const F32 zero = exp_float(-smaller(mean, 87.0f));
        return {zero, 1.0f - zero, mean, F32{}};
    }
    float exact(std::uint32_t gene) const {
        return reference::poisson({row.seed, row.cell, gene}, row.mean[gene]);
    }
};

/// p(0) = y^theta with y = theta / (theta + mean) = 1 - r.
VAEXPRS_INLINE CountLanes negative_binomial_lanes(F32 mean, F32 theta) {
    // Bounds that keep every step finite and normal; beyond them the law is the same to 1e-16 (a
    // Poisson) or zero.
    theta = smaller(theta, 0x1p64f);
    const F32 inverse = 1.0f / larger(mean + theta, 0x1p-100f);
    const F32 r = mean * inverse;
    const F32 y = theta * inverse;
    // Near 1 y has lost what r still knows: (1 - y) - r is the rounding error of y, and
    // log(y + d) = log y + d / y. Where y is far from 1 the term is as small as eps.
    const F32 log_y = log_float(y) + ((1.0f - y) - r);
    const F32 zero = exp_float(-smaller(-theta * log_y, 87.0f));
    return {zero, 1.0f - zero, theta * r, r};
}

struct NegativeBinomialLanes {
    const ObservationRow& row;

    CountLanes lanes(F32 mean, U32 gene) const {
        return negative_binomial_lanes(mean, gather(row.inverse_dispersion, gene));
    }
    float exact(std::uint32_t gene) const {
        return reference::nb({row.seed, row.cell, gene}, row.mean[gene],
                             row.inverse_dispersion[gene]);
    }
};

struct ZeroInflatedLanes {
    const ObservationRow& row;

    CountLanes lanes(F32 mean, U32 gene) const {
        CountLanes lanes = negative_binomial_lanes(mean, gather(row.inverse_dispersion, gene));
        const F32 weight = weight_lanes(gather(row.zero_logits, gene));
        lanes.p *= weight;
        lanes.tail *= weight;
        return lanes;
    }
    float exact(std::uint32_t gene) const {
        return reference::zinb({row.seed, row.cell, gene}, row.mean[gene],
                               row.inverse_dispersion[gene], row.zero_logits[gene]);
    }
};

template <class Law>
std::size_t sample_counts(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    const Law law{row};
    return CountSampler<Law>(law, row, out, scratch)();
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {VAEXPRS_ISA_NAME,
                          sample_bernoulli,
                          sample_counts<PoissonLanes>,
                          sample_counts<NegativeBinomialLanes>,
                          sample_counts<ZeroInflatedLanes>,
                          sample_zigamma,
                          fill_uniform,
                          fill_normal};

}  // namespace vaexprs::VAEXPRS_ISA
