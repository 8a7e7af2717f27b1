// The plain scalar twin of every kernel: the meaning of a draw, in float64, one entry at a time.
//
// Kernels must give the same values, draw by draw, on every instruction set. They call these
// functions themselves where float32 cannot tell two counts apart.

#pragma once

#include "vaexprs/streams.hpp"

namespace vaexprs::reference {

/// Means above this are drawn as gamma-Poisson mixtures; below, by inversion of one uniform.
inline constexpr float kLargeMean = 32.0f;

float bernoulli(Site site, float mean);
float gaussian(Site site, float mean, float scale);
float rectified_gaussian(Site site, float mean, float scale);
float poisson(Site site, float mean);
/// Variance mean + mean^2 / inverse_dispersion.
float nb(Site site, float mean, float inverse_dispersion);
/// 0 with probability sigmoid(zero_logits), else negative binomial.
float zinb(Site site, float mean, float inverse_dispersion, float zero_logits);
/// 0 with probability sigmoid(zero_logits), else gamma of variance mean^2 / inverse_dispersion.
float zigamma(Site site, float mean, float inverse_dispersion, float zero_logits);

}  // namespace vaexprs::reference
