#include "vaexprs/latent.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "vaexprs/float_math.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/parallel.hpp"

namespace vaexprs {

void fill_latent(float* out, std::size_t n_cells, std::uint32_t n_latent, const Run& run) {
    parallel_rows(n_cells, parts_of(n_cells, run.n_threads),
                  [&](std::size_t first, std::size_t last, std::size_t) {
                      for (std::size_t i = first; i < last; ++i) {
                          run.kernels->normal(run.cell(i), Purpose::latent, n_latent,
                                              out + i * n_latent);
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
        if (!std::isfinite(out[i])) {
            throw std::invalid_argument(
                "log_variance: expected draws that float32 can hold, got others at position " +
                std::to_string(i) + ".");
        }
    }
}

}  // namespace vaexprs
