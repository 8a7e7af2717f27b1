#include "vaexprs/reference.hpp"

#include <cmath>

#include "vaexprs/gamma_float.hpp"
#include "vaexprs/normal.hpp"
#include "vaexprs/uniform.hpp"
#include "vaexprs/variates.hpp"

namespace vaexprs::reference {

namespace {

/// NB as a Poisson whose mean is a gamma variate; exact, and as quick for any mean.
double gamma_poisson(Site site, double mean, double inverse_dispersion) {
    return draw_poisson(site, draw_gamma(site, inverse_dispersion) * (mean / inverse_dispersion));
}

/// The test of Marsaglia and Tsang, of numbers that are float32 but in float64.
bool accepts(const GammaAttempt<float>& attempt, std::uint32_t word) {
    if (attempt.root <= 0.0f) return false;
    const double x = attempt.x, y = static_cast<double>(attempt.c) * x;
    return std::log(0x1p-32 * (word + 0.5)) < log_gamma_acceptance(attempt.d, y, x);
}

}  // namespace

float bernoulli(Site site, float mean) {
    return observation_uniform(site) < mean ? 1.0f : 0.0f;
}

float gaussian(Site site, float mean, float scale) {
    return mean + scale * tiled_normal(site, Purpose::observation);
}

float rectified_gaussian(Site site, float mean, float scale) {
    const float value = gaussian(site, mean, scale);
    return value > 0.0f ? value : 0.0f;
}

float poisson(Site site, float mean) {
    const double count = mean > kLargeMean
                             ? draw_poisson(site, mean)
                             : invert_upper_tail(observation_uniform(site), poisson_law(mean));
    return static_cast<float>(count);
}

float nb(Site site, float mean, float inverse_dispersion) {
    const double count = mean > kLargeMean
                             ? gamma_poisson(site, mean, inverse_dispersion)
                             : invert_upper_tail(observation_uniform(site),
                                                 negative_binomial_law(mean, inverse_dispersion));
    return static_cast<float>(count);
}

float zinb(Site site, float mean, float inverse_dispersion, float zero_logits) {
    // One uniform decides the extra zero and, scaled by the weight, the count.
    const double v = observation_uniform(site);
    const double weight = weight_of(zero_logits);
    if (mean > kLargeMean) {
        return v < weight ? static_cast<float>(gamma_poisson(site, mean, inverse_dispersion))
                          : 0.0f;
    }
    const CountLaw law = negative_binomial_law(mean, inverse_dispersion, weight);
    return static_cast<float>(invert_upper_tail(v, law));
}

float zigamma(Site site, float mean, float inverse_dispersion, float zero_logits) {
    if (!(observation_uniform(site) < weight_of(zero_logits))) return 0.0f;
    for (std::uint32_t attempt = 0;; ++attempt) {
        const Words<std::uint32_t> words = random_words(site, Purpose::gamma, attempt);
        const GammaAttempt<float> made = attempt_gamma(inverse_dispersion, words);
        if (!accepts(made, words.w2)) continue;
        const float scaled = made.value * (mean / inverse_dispersion);
        return inverse_dispersion < 1.0f ? scaled * gamma_boost(inverse_dispersion, words.w3)
                                         : scaled;
    }
}

}  // namespace vaexprs::reference
