// Gamma variates in float32, for one entry or for a vector of them: what a continuous observation
// is made of. (Counts of large mean take theirs in float64, from variates.hpp.)
//
// The method is that of Marsaglia and Tsang, see variates.cpp. An attempt uses one Threefry block:
// two words make a normal, one decides whether the attempt is accepted, one is kept for shapes
// below 1. The value is computed in float32 by the same steps on every instruction set; whether it
// is accepted is decided in float64, or in float32 where the margin is wide enough.

#pragma once

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"
#include "vaexprs/normal.hpp"
#include "vaexprs/threefry.hpp"

namespace vaexprs {

template <class Float>
struct GammaAttempt {
    Float d, c;   ///< of the shape, or of the shape + 1 if that is below 1
    Float x;      ///< the normal
    Float root;   ///< 1 + c x
    Float value;  ///< d root^3, if the attempt is accepted
};

template <class Float>
VAEXPRS_INLINE GammaAttempt<Float> attempt_gamma(Float shape, const Words<Unsigned<Float>>& words) {
    const Float one = shape * 0.0f + 1.0f;
    const Float d = (shape < 1.0f ? shape + 1.0f : shape) - 0x1.555556p-2f;
    const Float c = one / FloatTraits<Float>::square_root(d * 9.0f);
    const Float x = box_muller<Float>(words.w0, words.w1).first;
    const Float root = one + c * x;
    return {d, c, x, root, d * (root * root * root)};
}

/// U^(1 / shape), by which a variate of shape + 1 is multiplied to make one of a shape below 1;
/// 0 where it would be below 2^-125.
template <class Float>
VAEXPRS_INLINE Float gamma_boost(Float shape, Unsigned<Float> word) {
    const auto bits = __builtin_bit_cast(Signed<Float>, word >> 1);
    const Float log_u = log_float<-31>(FloatTraits<Float>::convert(bits) + 0.5f);
    const Float log_boost = log_u / shape;
    const Float zero = shape * 0.0f;
    return log_boost > -86.0f ? exp_float(log_boost) : zero;
}

}  // namespace vaexprs
