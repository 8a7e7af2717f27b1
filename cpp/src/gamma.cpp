#include "vaexprs/gamma.hpp"

#include <cmath>
#include <numbers>

#include "vaexprs/uniform.hpp"

namespace vaexprs {

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

}  // namespace vaexprs
