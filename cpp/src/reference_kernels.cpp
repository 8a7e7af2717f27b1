// The scalar reference as a table of kernels: what the fast ones are compared with, and what runs
// where no faster one does.

#include <algorithm>
#include <utility>

#include "vaexprs/normal.hpp"
#include "vaexprs/reference.hpp"
#include "vaexprs/softmax.hpp"

#include "kernel_tables.hpp"

namespace vaexprs {

namespace {

/// Draws a row entry by entry.
template <class... Floats>
std::size_t draw_row(const ObservationRow& row, SparseRow out, const Support& support,
                     float (*draw)(Site, float, Floats...)) {
    const auto value_of = [&]<std::size_t... k>(std::uint32_t gene, std::index_sequence<k...>) {
        return draw({row.cell, gene}, row.mean_of(gene), row.parameters[k + 1][gene]...);
    };
    std::size_t n = 0;
    for (std::uint32_t gene = 0; gene < row.n_genes; ++gene) {
        const float mean = row.mean_of(gene);
        if (!(mean >= support.low && mean <= support.high)) return kBadMean;
        const float value = value_of(gene, std::index_sequence_for<Floats...>());
        if (value == 0.0f) continue;
        out.columns[n] = static_cast<std::int32_t>(gene);
        out.values[n] = value;
        ++n;
    }
    return n;
}

#define VAEXPRS_KERNEL(name, takes_logits, ...)                                           \
    std::size_t sample_##name(const ObservationRow& row, SparseRow out, std::uint32_t*) { \
        constexpr Parameter kParameters[] = {__VA_ARGS__};                                \
        return draw_row(row, out, kParameters[0].support, reference::name);               \
    }
VAEXPRS_LIKELIHOODS(VAEXPRS_KERNEL)
#undef VAEXPRS_KERNEL

void normal(const Cell& cell, Purpose purpose, std::uint32_t n, float* out) {
    for (std::uint32_t j = 0; j < n; ++j)
        out[j] = tiled_normal({cell, j}, purpose);
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

/// Panels of one column: each is summed by itself.
void product(const float* x, std::size_t n_rows, std::size_t n_inner, const float* packed,
             std::size_t n, float* out) {
    for (std::size_t i = 0; i < n_rows; ++i, x += n_inner) {
        for (std::size_t j = 0; j < n; ++j) {
            float sum = 0.0f;
            for (std::size_t k = 0; k < n_inner; ++k)
                sum += x[k] * packed[j * n_inner + k];
            *out++ = sum;
        }
    }
}

void apply_function(Function function, const float* x, std::size_t n, float alpha, float gamma,
                    float* out) {
    switch (function) {
#define VAEXPRS_CASE(name)                                         \
    case Function::name:                                           \
        for (std::size_t i = 0; i < n; ++i)                        \
            out[i] = value_of<Function::name>(x[i], alpha, gamma); \
        break;
        VAEXPRS_FUNCTIONS(VAEXPRS_CASE)
#undef VAEXPRS_CASE
    }
}

void apply_operation(Operation operation, const float* x, std::size_t x_stride, const float* y,
                     std::size_t y_stride, std::size_t n, float* out) {
    switch (operation) {
#define VAEXPRS_CASE(name)                                                        \
    case Operation::name:                                                         \
        for (std::size_t i = 0; i < n; ++i)                                       \
            out[i] = value_of<Operation::name>(x[i * x_stride], y[i * y_stride]); \
        break;
        VAEXPRS_OPERATIONS(VAEXPRS_CASE)
#undef VAEXPRS_CASE
    }
}

}  // namespace

#define VAEXPRS_KERNEL(name, ...) sample_##name,
const Kernels kReferenceKernels = {"reference",    {VAEXPRS_LIKELIHOODS(VAEXPRS_KERNEL)},
                                   normal,         all_within,
                                   softmax,        1,
                                   product,        apply_function,
                                   apply_operation};
#undef VAEXPRS_KERNEL

}  // namespace vaexprs
