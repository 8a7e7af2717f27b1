// The law of the latent variables and the library size, and noise by itself.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vaexprs/run.hpp"

namespace vaexprs {

/// Standard normals, n_cells x n_latent.
void fill_latent(float* out, std::size_t n_cells, std::uint32_t n_latent, const Run& run);

/// mean + exp(log_variance / 2) e, with the e that fill_latent would give; all n_cells x n_latent.
/// Throws std::invalid_argument where the result is beyond float32.
void reparameterize(const float* mean, const float* log_variance, float* out, std::size_t n_cells,
                    std::uint32_t n_latent, const Run& run);

/// A category with probability proportional to its weight, by inversion of one uniform; a category
/// of weight 0 is never drawn. The last entry of `cumulative` must be positive.
std::size_t draw_category(Site site, Purpose purpose, std::span<const double> cumulative);

/// A Gaussian mixture for each group: group g owns components offsets[g] ... offsets[g + 1] - 1.
struct Mixture {
    std::span<const std::int64_t> offsets;  ///< n_groups + 1; empty for a standard normal law
    std::span<const double> weights;        ///< n_components, not negative
    const float* means = nullptr;           ///< n_components x n_dim
    const float* tril = nullptr;            ///< n_factors x n_dim x n_dim, lower triangles
    std::span<const std::int32_t> factor;   ///< n_components
};

/// Library sizes of each group; all null where there are none.
struct LibraryLaw {
    const float *minimum = nullptr, *maximum = nullptr;  ///< in counts
    const float *location = nullptr, *scale = nullptr;   ///< of the log library size
};

struct LatentLaw {
    std::uint32_t n_latent;
    bool with_log_library;  ///< the last coordinate of the mixture is the log library size
    Mixture mixture;
    LibraryLaw library;

    std::uint32_t n_dim() const { return n_latent + (with_log_library ? 1 : 0); }
    bool is_mixture() const { return !mixture.offsets.empty(); }
};

/// Categories of each key, and the combinations of them that training saw: the groups of a law.
struct Conditions {
    std::span<const std::int32_t> sizes;    ///< n_keys
    std::span<const std::int32_t> seen;     ///< n_seen x n_keys, codes
    std::span<const std::int64_t> n_cells;  ///< n_seen, training cells

    std::size_t n_keys() const { return sizes.size(); }
    std::size_t n_seen() const { return n_cells.size(); }
    const std::int32_t* row(std::size_t group) const { return seen.data() + group * n_keys(); }
};

}  // namespace vaexprs
