#include "vaexprs/poisson.hpp"

#include <cmath>
#include <numbers>

#include "vaexprs/count_law.hpp"
#include "vaexprs/uniform.hpp"

namespace vaexprs {

namespace {

/// log k! - log(sqrt(2 pi k) (k / e)^k): what Stirling's formula leaves out.
double stirling_remainder(double k) {
    if (k < 16.0) {
        double factorial = 1.0;
        for (double i = 2.0; i <= k; i += 1.0)
            factorial *= i;
        return std::log(factorial) -
               ((k + 0.5) * std::log(k) - k + 0.5 * std::log(2.0 * std::numbers::pi));
    }
    const double square = k * k;
    const double series =
        1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square;
    return series / k;
}

/// x log(x / mean) + mean - x, without cancellation where x is near the mean.
double deviance(double x, double mean) {
    const double difference = x - mean;
    if (std::abs(difference) < 0.1 * (x + mean)) {
        // Series in v = (x - mean) / (x + mean).
        const double v = difference / (x + mean);
        double sum = difference * v;
        double term = 2.0 * x * v;
        for (int j = 3;; j += 2) {
            term *= v * v;
            const double next = sum + term / j;
            if (next == sum) return sum;
            sum = next;
        }
    }
    return x * std::log(x / mean) - difference;
}

/// log of the Poisson probability of k >= 1.
///
/// C. Loader, "Fast and accurate computation of binomial probabilities", 2000: the saddle-point
/// form, which keeps its precision where k log(mean) - mean - lgamma(k + 1) loses it.
double log_poisson(double k, double mean) {
    return -stirling_remainder(k) - deviance(k, mean) - 0.5 * std::log(2.0 * std::numbers::pi * k);
}

/// W. Hörmann, "The transformed rejection method for generating Poisson random variables",
/// Insurance: Mathematics and Economics 12 (1993) 39-45, algorithm PTRS; mean >= 10.
double transformed_rejection(Site site, double mean) {
    const double b = 0.931 + 2.53 * std::sqrt(mean);
    const double a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    const double v_accept = 0.9277 - 3.6224 / (b - 2.0);
    for (std::uint32_t attempt = 0;; ++attempt) {
        const Words<std::uint32_t> words = random_words(site, Purpose::poisson, attempt);
        const double u = uniform_double(words.w0, words.w1) - 0.5;
        const double v = uniform_double(words.w2, words.w3);
        const double us = 0.5 - std::abs(u);
        const double k = std::floor((2.0 * a / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= v_accept) return k;
        if (k < 0.0 || (us < 0.013 && v > us)) continue;
        const double log_p = k == 0.0 ? -mean : log_poisson(k, mean);
        if (std::log(v * inverse_alpha / (a / (us * us) + b)) <= log_p) return k;
    }
}

}  // namespace

double draw_poisson(Site site, double mean) {
    if (mean >= 10.0) return transformed_rejection(site, mean);
    const Words<std::uint32_t> words = random_words(site, Purpose::poisson);
    return invert_upper_tail(uniform_double(words.w0, words.w1), poisson_law(mean));
}

}  // namespace vaexprs
