// Observations given the decoder's output: a matrix of cells x genes, dense or CSR.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vaexprs/buffer.hpp"
#include "vaexprs/likelihoods.hpp"
#include "vaexprs/run.hpp"

namespace vaexprs {

/// Rows of a parameter: n_cells rows, or one that all cells share (stride 0). Null if not used.
struct ParameterRows {
    const float* data = nullptr;
    std::size_t stride = 0;

    const float* row(std::size_t i) const { return data ? data + i * stride : nullptr; }
};

/// Where the decoder gives logits in place of means: those of a row are library * softmax(logits +
/// bias).
struct Softmax {
    const float* library = nullptr;  ///< of each cell; null where the means are given
    const float* bias = nullptr;     ///< of each gene, or null
};

struct Observation {
    const Likelihood* likelihood;
    std::size_t n_cells;
    std::uint32_t n_genes;                     ///< below kMaxGenes
    ParameterRows parameters[kMaxParameters];  ///< the means, or logits, first
    Softmax softmax{};
    bool rounded = false;  ///< to the nearest integer, what is positive to at least 1
};

/// Kernels keep a gene and a random byte in one word.
inline constexpr std::size_t kMaxGenes = std::size_t{1} << 24;

struct Csr {
    Buffer<float> data;
    Buffer<std::int32_t> indices;  ///< rising within each row
    std::vector<std::int64_t> indptr;
};

// All of these throw std::invalid_argument, naming a parameter, where a value is outside its
// support, or where a draw is beyond float32. What they write to may then be partly written.

/// Writes the means, n_cells x n_genes: as they are, or those that logits stand for. Means of
/// probabilities may here exceed 1, since they may be values of their own.
void write_means(const Observation& observation, const Run& run, float* out);

/// Draws the values and leaves the zeros out.
Csr sample_csr(const Observation& observation, const Run& run);

}  // namespace vaexprs
