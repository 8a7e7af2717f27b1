// Latent variables and library sizes: what goes into the decoder and is random.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vaexprs/run.hpp"

namespace vaexprs {

/// Standard normals, n_cells x n_latent.
void fill_latent(float* out, std::size_t n_cells, std::uint32_t n_latent, const Run& run);

/// mean + exp(log_variance / 2) e, with the e that fill_latent would give; all n_cells x n_latent.
void reparameterize(const float* mean, const float* log_variance, float* out, std::size_t n_cells,
                    std::uint32_t n_latent, const Run& run);

/// A Gaussian mixture for each group: group g owns components offsets[g] ... offsets[g + 1] - 1.
struct Mixture {
    std::uint32_t n_dim;
    std::span<const std::int64_t> offsets;  ///< n_groups + 1
    std::span<const double> weights;        ///< n_components, not negative
    const float* means;                     ///< n_components x n_dim
    const float* tril;                      ///< n_factors x n_dim x n_dim, lower triangles
    std::span<const std::int32_t> factor;   ///< n_components
};

/// One draw of the mixture of each cell's group; n_cells x n_dim.
void fill_latent_mixture(float* out, std::span<const std::int32_t> group, const Mixture& mixture,
                         const Run& run);

/// exp(location + scale e) with the location and scale of each cell's group; n_cells.
void fill_library(float* out, std::span<const std::int32_t> group, const float* location,
                  const float* scale, const Run& run);

}  // namespace vaexprs
