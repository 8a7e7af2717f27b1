#pragma once

#include "vaexprs/streams.hpp"

namespace vaexprs {

/// Poisson variate of any mean >= 0 at a site; exact in distribution, an integer in float64.
double draw_poisson(Site site, double mean);

}  // namespace vaexprs
