#pragma once

#include "vaexprs/streams.hpp"

namespace vaexprs {

/// Gamma variate of the given shape and scale 1 at a site; exact in distribution.
///
/// Any positive shape; float64. Very small shapes may give 0, where the true value would be below
/// the smallest float64.
double draw_gamma(Site site, double shape);

/// Logarithm of the probability with which Marsaglia and Tsang accept d (1 + y)^3, where y = c x.
double log_gamma_acceptance(double d, double y, double x);

}  // namespace vaexprs
