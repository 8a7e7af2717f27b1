// The formulas that the softmax kernels and their scalar twin share, so that they give the same
// bits.

#pragma once

#include <cstddef>
#include <limits>

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"

namespace vaexprs {

/// The sum over a row is kept in this many partial sums, entry i in sum i % kSumLanes: a multiple
/// of every vector's width, and enough for the core to overlap additions.
inline constexpr std::size_t kSumLanes = 32;

/// Logits are taken for one between these, of which the smaller is no share worth drawing from.
/// NaN is taken for the larger one.
inline constexpr float kSmallestExponent = -87.0f, kLargestExponent = 61.0f;

/// Where the exponentials sum up to a number between these (exp(-20) and exp(59.6)), those that
/// matter are exact: none was of a logit above the bound, whose exponential is 2^88 alone.
/// Otherwise the largest logit is found and taken off first. So no logit is compared for itself.
/// (Measured with AVX2, together with bounds that are one instruction each: 0.54 ns per entry,
/// 0.585 before.)
inline constexpr float kSmallestTotal = 0x1p-29f, kLargestTotal = 0x1p86f;

VAEXPRS_INLINE float bounded_logit(float x) {
    const float below = x < kLargestExponent ? x : kLargestExponent;
    return below > kSmallestExponent ? below : kSmallestExponent;
}

VAEXPRS_INLINE bool is_good_total(float total) {
    return total >= kSmallestTotal && total <= kLargestTotal;
}

inline constexpr float kLargestLogit = std::numeric_limits<float>::max();

/// exp(x) for -87 <= x <= 61, but for a factor that is the same for all; relative error below
/// 3e-7 + 6e-8 |x|, which is what rounding x itself to float32 does.
///
/// 2^t with t = x log2(e): the nearest integer to t goes to the exponent, a polynomial has the
/// rest. exp_float, more exact at large |x|, would take a third longer.
template <class Float>
VAEXPRS_INLINE Float share_of(Float x) {
    using Bits = Unsigned<Float>;
    const Float t = x * 0x1.715476p+0f;
    const Float shifted = t + 0x1.8p23f;
    const Float f = t - (shifted - 0x1.8p23f);
    const Float square = f * f;
    const Float low = (f * 0x1.c6a2d2p-5f + 0x1.ebf80ap-3f) * square;
    const Float high = (f * 0x1.656324p-10f + 0x1.3d5ac8p-7f) * (square * square);
    const Float p = (f * 0x1.62e438p-1f + 0x1.000002p+0f) + (low + high);
    // Unsigned, since the sum may wrap around.
    return __builtin_bit_cast(
        Float, __builtin_bit_cast(Bits, p) + (__builtin_bit_cast(Bits, shifted) << 23));
}

/// Adds up the partial sums, which it overwrites.
VAEXPRS_INLINE float total_of(float* sums) {
    for (std::size_t half = kSumLanes / 2; half > 0; half /= 2) {
        for (std::size_t i = 0; i < half; ++i)
            sums[i] += sums[i + half];
    }
    return sums[0];
}

}  // namespace vaexprs
