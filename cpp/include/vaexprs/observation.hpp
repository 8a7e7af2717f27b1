// Observations given the decoder's output: a matrix of cells x genes, dense or CSR.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vaexprs/buffer.hpp"
#include "vaexprs/run.hpp"

namespace vaexprs {

enum class Likelihood { bernoulli, gaussian, poisson, nb, zinb, zigamma };

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
    Likelihood likelihood;
    std::size_t n_cells;
    std::uint32_t n_genes;  ///< below kMaxGenes
    ParameterRows mean;     ///< or logits
    ParameterRows scale;
    ParameterRows inverse_dispersion;
    ParameterRows zero_logits;
    Softmax softmax{};
};

/// Kernels keep a gene and a random byte in one word.
inline constexpr std::size_t kMaxGenes = std::size_t{1} << 24;

/// Means of counts are below this. Counts above 2^24 are rounded to float32.
inline constexpr float kMaxMean = 0x1p63f;

struct Csr {
    Buffer<float> data;
    Buffer<std::int32_t> indices;  ///< rising within each row
    std::vector<std::int64_t> indptr;
};

/// Writes the means that logits stand for, n_cells x n_genes. Throws as below.
void softmax_means(const Observation& observation, const Run& run, float* out);

/// Draws into out, n_cells x n_genes. Throws std::invalid_argument, naming a parameter, where a
/// value is outside its support; out may then be partly written.
void sample_dense(const Observation& observation, const Run& run, float* out);

/// The same draws with the zeros left out.
Csr sample_csr(const Observation& observation, const Run& run);

}  // namespace vaexprs
