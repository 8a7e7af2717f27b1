// Exact variates in float64: Poisson and negative binomial laws in one recurrence and their
// inversion, and gamma and Poisson variates by rejection.

#pragma once

#include "vaexprs/streams.hpp"

namespace vaexprs {

/// A law of counts of Panjer's class: p(k) = p(k - 1) (first + slope (k - 1)) / k.
///
/// H. H. Panjer, "Recursive evaluation of a family of compound distributions", ASTIN Bulletin 12
/// (1981) 22-26. `weight` times the law is mixed with a point mass 1 - weight at zero.
struct CountLaw {
    double zero;    ///< p(0) of the law itself
    double above;   ///< 1 - p(0), with full relative precision
    double first;   ///< Poisson: mean; negative binomial: theta r with r = mean / (mean + theta)
    double slope;   ///< Poisson: 0; negative binomial: r
    double weight;  ///< probability that the law applies and not the extra zero
};

CountLaw poisson_law(double mean, double weight = 1.0);
CountLaw negative_binomial_law(double mean, double inverse_dispersion, double weight = 1.0);

/// 1 / (1 + exp(zero_logits)): the probability that a zero-inflated value is not an extra zero.
double weight_of(double zero_logits);

/// The smallest k with v >= P(X > k), for v in (0, 1]: exact inversion from the upper tail.
///
/// Takes about k steps. Tail probabilities keep their relative precision, however small.
double invert_upper_tail(double v, const CountLaw& law);

/// Gamma variate of the given shape and scale 1 at a site; exact in distribution.
///
/// Any positive shape; float64. Very small shapes may give 0, where the true value would be below
/// the smallest float64.
double draw_gamma(Site site, double shape);

/// Logarithm of the probability with which Marsaglia and Tsang accept d (1 + y)^3, where y = c x.
double log_gamma_acceptance(double d, double y, double x);

/// Poisson variate of any mean >= 0 at a site; exact in distribution, an integer in float64.
double draw_poisson(Site site, double mean);

}  // namespace vaexprs
