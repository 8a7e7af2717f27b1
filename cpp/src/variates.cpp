#include "vaexprs/variates.hpp"

#include <cmath>
#include <numbers>

#include "vaexprs/uniform.hpp"

namespace vaexprs {

CountLaw poisson_law(double mean, double weight) {
    return {std::exp(-mean), -std::expm1(-mean), mean, 0.0, weight};
}

CountLaw negative_binomial_law(double mean, double inverse_dispersion, double weight) {
    // p(0) = (theta / (theta + mean))^theta
    const double log_zero = -inverse_dispersion * std::log1p(mean / inverse_dispersion);
    const double ratio = mean / (mean + inverse_dispersion);
    return {std::exp(log_zero), -std::expm1(log_zero), inverse_dispersion * ratio, ratio, weight};
}

double weight_of(double zero_logits) {
    return 1.0 / (1.0 + std::exp(zero_logits));
}

namespace {

/// P(X > k), weighted, summed from its largest terms down to where they no longer count.
double upper_tail(double k, double p, const CountLaw& law) {
    double sum = 0.0;
    do {
        k += 1.0;
        p *= (law.first + law.slope * (k - 1.0)) / k;
        sum += p;
    } while (p > 0x1p-56 * sum);
    return sum;
}

}  // namespace

double invert_upper_tail(double v, const CountLaw& law) {
    double k = 0.0;
    double p = law.weight * law.zero;
    double tail = law.weight * law.above;
    double fresh = tail;
    while (v < tail) {
        k += 1.0;
        p *= (law.first + law.slope * (k - 1.0)) / k;
        tail -= p;
        // Each subtraction leaves an absolute error of about 1e-16 of the tail it began with: once
        // three digits are gone the tail is summed anew.
        if (tail < 1e-3 * fresh) fresh = tail = upper_tail(k, p, law);
    }
    return k;
}

namespace {

/// log(1 + y) - y, without cancellation where y is small.
double log1p_minus(double y) {
    if (std::abs(y) > 0.05) return std::log1p(y) - y;
    double sum = 0.0, power = -y;
    for (double n = 2.0;; n += 1.0) {
        power *= -y;
        const double next = sum - power / n;
        if (next == sum) return sum;
        sum = next;
    }
}

}  // namespace

// x^2 / 2 + d (1 - v + log v) with v = (1 + y)^3, arranged so that large d find nothing to cancel.
double log_gamma_acceptance(double d, double y, double x) {
    return 0.5 * x * x + d * (3.0 * log1p_minus(y) - 3.0 * y * y - y * y * y);
}

// G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM Transactions on
// Mathematical Software 26 (2000) 363-372. An attempt fails with probability below 0.05, and each
// has words of its own, so that the number of attempts disturbs nobody else.
double draw_gamma(Site site, double shape) {
    double boost = 1.0;
    if (shape < 1.0) {
        // Gamma(a) = Gamma(a + 1) U^(1/a), section 6 of the paper; attempt 0 is kept for this U.
        const Words<std::uint32_t> words = random_words(site, Purpose::gamma, 0);
        boost = std::pow(uniform_double(words.w0, words.w1), 1.0 / shape);
        shape += 1.0;
    }
    const double d = shape - 1.0 / 3.0;
    const double c = 1.0 / std::sqrt(9.0 * d);
    for (std::uint32_t attempt = 1;; ++attempt) {
        const Words<std::uint32_t> words = random_words(site, Purpose::gamma, attempt);
        const double turn = 2.0 * std::numbers::pi * 0x1p-32 * (words.w2 + 0.5);
        const double x =
            std::sqrt(-2.0 * std::log(uniform_double(words.w0, words.w1))) * std::cos(turn);
        const double root = 1.0 + c * x;
        if (root <= 0.0) continue;
        const double u = 0x1p-32 * (words.w3 + 0.5);
        if (std::log(u) < log_gamma_acceptance(d, c * x, x)) return boost * d * root * root * root;
    }
}

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
