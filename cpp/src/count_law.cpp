#include "vaexprs/count_law.hpp"

#include <cmath>

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

}  // namespace vaexprs
