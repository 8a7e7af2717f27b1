// What the softmax kernels and their scalar twin share, so that they give the same bits.

#pragma once

#include <cstddef>
#include <limits>

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"

namespace vaexprs {

/// The sum over a row is kept in this many partial sums, entry i in sum i % kSumLanes: a multiple of
/// every vector's width, and enough for the core to overlap additions.
inline constexpr std::size_t kSumLanes = 32;

inline constexpr float kLargestLogit = std::numeric_limits<float>::max();

/// Shares below exp(-87) of the largest are taken for that: the argument must suit exp_float, and
/// no draw can tell.
inline constexpr float kSmallestExponent = -87.0f;

VAEXPRS_INLINE float share_of(float logit, float largest) {
    const float x = logit - largest;
    return exp_float(x > kSmallestExponent ? x : kSmallestExponent);
}

/// Adds up the partial sums, which it overwrites.
VAEXPRS_INLINE float total_of(float* sums) {
    for (std::size_t half = kSumLanes / 2; half > 0; half /= 2) {
        for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    return sums[0];
}

}  // namespace vaexprs
