// The scalar reference as a table of kernels: what the fast ones are compared with, and what runs
// where no faster one does.

#include <algorithm>

#include "vaexprs/normal.hpp"
#include "vaexprs/observation.hpp"
#include "vaexprs/reference.hpp"
#include "vaexprs/softmax.hpp"
#include "vaexprs/uniform.hpp"

#include "kernel_tables.hpp"

namespace vaexprs {

namespace {

template <class Draw>
std::size_t sample_row(const ObservationRow& row, SparseRow out, float limit, bool closed,
                       const Draw& draw) {
    std::size_t n = 0;
    for (std::uint32_t gene = 0; gene < row.n_genes; ++gene) {
        const float mean = row.mean_of(gene);
        if (!(mean >= 0.0f && (mean < limit || (closed && mean == limit)))) return kBadMean;
        const float value = draw(Site{row.seed, row.cell, gene}, gene);
        if (value == 0.0f) continue;
        out.columns[n] = static_cast<std::int32_t>(gene);
        out.values[n] = value;
        ++n;
    }
    return n;
}

std::size_t bernoulli(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    return sample_row(row, out, 1.0f, true, [&](Site site, std::uint32_t gene) {
        return reference::bernoulli(site, row.mean_of(gene));
    });
}

std::size_t poisson(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    return sample_row(row, out, kMaxMean, false, [&](Site site, std::uint32_t gene) {
        return reference::poisson(site, row.mean_of(gene));
    });
}

std::size_t nb(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    return sample_row(row, out, kMaxMean, false, [&](Site site, std::uint32_t gene) {
        return reference::nb(site, row.mean_of(gene), row.inverse_dispersion[gene]);
    });
}

std::size_t zinb(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    return sample_row(row, out, kMaxMean, false, [&](Site site, std::uint32_t gene) {
        return reference::zinb(site, row.mean_of(gene), row.inverse_dispersion[gene],
                               row.zero_logits[gene]);
    });
}

std::size_t zigamma(const ObservationRow& row, SparseRow out, std::uint32_t*) {
    return sample_row(row, out, kMaxMean, false, [&](Site site, std::uint32_t gene) {
        return reference::zigamma(site, row.mean_of(gene), row.inverse_dispersion[gene],
                                  row.zero_logits[gene]);
    });
}

void uniform(std::uint64_t seed, Purpose purpose, std::uint64_t cell, std::uint32_t n, float* out) {
    for (std::uint32_t j = 0; j < n; ++j)
        out[j] = uniform_float(tiled_word({seed, cell, j}, purpose));
}

void normal(std::uint64_t seed, Purpose purpose, std::uint64_t cell, std::uint32_t n, float* out) {
    for (std::uint32_t j = 0; j < n; ++j)
        out[j] = tiled_normal({seed, cell, j}, purpose);
}

bool all_within(const float* x, std::size_t n, float low, float high) {
    return std::all_of(x, x + n, [=](float value) { return value >= low && value <= high; });
}

/// Replaces out by its exponentials and returns their sum.
float exponentials(std::size_t n, float* out) {
    float sums[kSumLanes] = {};
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = share_of(bounded_logit(out[i]));
        sums[i % kSumLanes] += out[i];
    }
    return total_of(sums);
}

bool softmax(const float* logits, const float* bias, float library, std::size_t n, float* share,
             float& factor) {
    const auto logit = [&](std::size_t i) {
        return bias == nullptr ? logits[i] : logits[i] + bias[i];
    };
    for (std::size_t i = 0; i < n; ++i)
        share[i] = logit(i);
    float total = exponentials(n, share);
    if (!is_good_total(total)) {
        float largest = -std::numeric_limits<float>::infinity();
        for (std::size_t i = 0; i < n; ++i) {
            if (!(logit(i) <= kLargestLogit)) return false;
            largest = std::max(largest, logit(i));
        }
        if (!(largest >= -kLargestLogit)) return false;
        for (std::size_t i = 0; i < n; ++i)
            share[i] = logit(i) - largest;
        total = exponentials(n, share);
    }
    factor = library / total;
    return true;
}

}  // namespace

const Kernels kReferenceKernels = {"reference", bernoulli, poisson, nb,         zinb,
                                   zigamma,     uniform,   normal,  all_within, softmax};

}  // namespace vaexprs
