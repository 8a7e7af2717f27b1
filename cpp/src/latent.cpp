#include "vaexprs/latent.hpp"

#include <algorithm>
#include <vector>

#include "vaexprs/categorical.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/normal.hpp"
#include "vaexprs/parallel.hpp"

namespace vaexprs {

void fill_latent(float* out, std::size_t n_cells, std::uint32_t n_latent, const Run& run) {
    parallel_rows(n_cells, parts_of(n_cells, run.n_threads),
                  [&](std::size_t first, std::size_t last, std::size_t) {
                      for (std::size_t i = first; i < last; ++i) {
                          run.kernels->normal(run.seed, Purpose::latent, run.first_cell + i,
                                              n_latent, out + i * n_latent);
                      }
                  });
}

void reparameterize(const float* mean, const float* log_variance, float* out, std::size_t n_cells,
                    std::uint32_t n_latent, const Run& run) {
    fill_latent(out, n_cells, n_latent, run);
    for (std::size_t i = 0; i < n_cells * n_latent; ++i) {
        // Beyond these bounds the standard deviation is 0 or infinite in float32 all the same.
        const float log_scale = std::clamp(0.5f * log_variance[i], -87.0f, 88.0f);
        out[i] = mean[i] + exp_float(log_scale) * out[i];
    }
}

void fill_latent_mixture(float* out, std::span<const std::int32_t> group, const Mixture& mixture,
                         const Run& run) {
    const std::vector<double> cumulative = cumulative_weights(mixture.weights, mixture.offsets);
    const std::size_t n_dim = mixture.n_dim;
    parallel_rows(
        group.size(), parts_of(group.size(), run.n_threads),
        [&](std::size_t first, std::size_t last, std::size_t) {
            std::vector<float> noise(n_dim);
            for (std::size_t i = first; i < last; ++i) {
                const std::uint64_t cell = run.first_cell + i;
                const auto g = static_cast<std::size_t>(group[i]);
                const auto begin = static_cast<std::size_t>(mixture.offsets[g]);
                const auto end = static_cast<std::size_t>(mixture.offsets[g + 1]);
                const std::size_t component =
                    begin + draw_category({run.seed, cell, 0}, Purpose::component,
                                          std::span(cumulative).subspan(begin, end - begin));
                run.kernels->normal(run.seed, Purpose::latent, cell, mixture.n_dim, noise.data());

                const float* mean = mixture.means + component * n_dim;
                const float* row =
                    mixture.tril +
                    static_cast<std::size_t>(mixture.factor[component]) * n_dim * n_dim;
                for (std::size_t j = 0; j < n_dim; ++j, row += n_dim) {
                    // Summed in float64 and in order: the same bits whatever the compiler makes of
                    // it.
                    double sum = mean[j];
                    for (std::size_t k = 0; k <= j; ++k)
                        sum += static_cast<double>(row[k]) * noise[k];
                    out[i * n_dim + j] = static_cast<float>(sum);
                }
            }
        });
}

void fill_library(float* out, std::span<const std::int32_t> group, const float* location,
                  const float* scale, const Run& run) {
    for (std::size_t i = 0; i < group.size(); ++i) {
        const auto g = static_cast<std::size_t>(group[i]);
        const float e = tiled_normal({run.seed, run.first_cell + i, 0}, Purpose::library);
        out[i] = exp_float(std::clamp(location[g] + scale[g] * e, -87.0f, 88.0f));
    }
}

}  // namespace vaexprs
