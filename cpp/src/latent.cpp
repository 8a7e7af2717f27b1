#include "vaexprs/latent.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "vaexprs/float_math.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/parallel.hpp"
#include "vaexprs/uniform.hpp"

namespace vaexprs {

void fill_latent(float* out, std::size_t n_cells, std::uint32_t n_latent, const Run& run) {
    for_each_row(n_cells, run.n_threads, [&](std::size_t i) {
        run.kernels->normal(run.cell(i), Purpose::latent, n_latent, out + i * n_latent);
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

std::size_t draw_category(Site site, Purpose purpose, std::span<const double> cumulative) {
    if (cumulative.size() == 1) return 0;
    const Words<std::uint32_t> words = random_words(site, purpose);
    const double target = uniform_double(words.w0, words.w1) * cumulative.back();
    // The first sum above the target belongs to a category of positive weight; there is one, as
    // 1 - 2^-53 times a number rounds to less than that number.
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), target);
    return static_cast<std::size_t>(found - cumulative.begin());
}

}  // namespace vaexprs
