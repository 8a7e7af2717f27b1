// The table of hot kernels, one for each instruction set, and how one is chosen.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "vaexprs/functions.hpp"
#include "vaexprs/likelihoods.hpp"
#include "vaexprs/streams.hpp"

namespace vaexprs {

/// The parameters of one cell, in the order of its likelihood's row in likelihoods.hpp.
struct ObservationRow {
    Cell cell;
    std::uint32_t n_genes;
    const float* parameters[kMaxParameters];
    float factor = 1.0f;  ///< the means are this times the first parameter, see SoftmaxKernel

    float mean_of(std::uint32_t gene) const { return parameters[0][gene] * factor; }
};

/// Kernels may write this many entries beyond what they keep: a vector is stored whole.
inline constexpr std::size_t kPadding = 64;

/// Room for one row of non-zeros: n_genes + kPadding entries each.
struct SparseRow {
    std::int32_t* columns;
    float* values;
};

/// Draws one row, leaves the zeros out, returns the number of non-zeros; kBadMean if a mean is
/// outside the support. `scratch` has room for kScratchArrays * (n_genes + kPadding) words.
using SparseKernel = std::size_t (*)(const ObservationRow& row, SparseRow out,
                                     std::uint32_t* scratch);
inline constexpr std::size_t kBadMean = static_cast<std::size_t>(-1);
inline constexpr std::size_t kScratchArrays = 13;

/// Fills out[0 ... n) with tiled normals of one cell.
using FillKernel = void (*)(const Cell& cell, Purpose purpose, std::uint32_t n, float* out);

/// Whether low <= x <= high for all of x[0 ... n).
using CheckKernel = bool (*)(const float* x, std::size_t n, float low, float high);

/// Shares of one cell from logits, up to a factor: factor * share = library * softmax(logits +
/// bias); `bias` may be null. What reads the shares next multiplies by the way, which saves a pass
/// over them (measured at 2,000 genes: 0.1 ns per entry of 2.3 for all that is done). False if a
/// logit is NaN or +infinity, or all are -infinity.
using SoftmaxKernel = bool (*)(const float* logits, const float* bias, float library, std::size_t n,
                               float* share, float& factor);

/// out = x w for matrices in rows: x is n_rows x n_inner, out n_rows x n. The weights w are packed:
/// panels of `Kernels::panel` columns one after the other, each n_inner x panel, the last filled up
/// with zeros. Each entry is summed over the inner axis in order, one product after the other.
using ProductKernel = void (*)(const float* x, std::size_t n_rows, std::size_t n_inner,
                               const float* packed, std::size_t n, float* out);

/// out[i] = function(x[i]).
using FunctionKernel = void (*)(Function function, const float* x, std::size_t n, float alpha,
                                float gamma, float* out);

/// out[i] = operation(x[i], y[i]); where a stride is 0 its operand is one number for all.
using OperationKernel = void (*)(Operation operation, const float* x, std::size_t x_stride,
                                 const float* y, std::size_t y_stride, std::size_t n, float* out);

struct Kernels {
    const char* name;
    SparseKernel sample[kNLikelihoods];  ///< in the order of the table of likelihoods
    FillKernel normal;
    CheckKernel all_within;
    SoftmaxKernel softmax;
    std::size_t panel;  ///< columns of packed weights side by side
    ProductKernel product;
    FunctionKernel function;
    OperationKernel operation;
};

/// Kernels that this machine can run: the scalar reference first, then rising instruction sets.
const std::vector<const Kernels*>& available_kernels();

/// The kernels of that name; the default ones for an empty name. Throws std::invalid_argument.
///
/// The default is the highest instruction set, unless the environment variable
/// VAEXPRS_INSTRUCTION_SET named another one when the process first asked.
const Kernels& kernels_named(std::string_view name);

}  // namespace vaexprs
