// log, exp, sine and cosine in float32, for one number or for a vector of them.
//
// Plain arithmetic in a fixed order: compiled without contraction to fused operations they give
// the same bits on every instruction set, which no libm promises. Coefficients are minimax fits
// printed by cpp/tools/fit_polynomials.py. The tests measure the errors stated here.
//
// `Float` is float or a vector of floats; a comparison gives bool or a vector mask, and `?:`
// chooses for each lane.

#pragma once

#include <cstdint>

#include "vaexprs/inline.hpp"

namespace vaexprs {

/// What has no operator, for a type of floats; lanes.hpp has it for vectors.
template <class Float>
struct FloatTraits;

template <>
struct FloatTraits<float> {
    using Signed = std::int32_t;
    using Unsigned = std::uint32_t;
    VAEXPRS_INLINE_MEMBER static float broadcast(float x) { return x; }
    VAEXPRS_INLINE_MEMBER static float convert(Signed x) { return static_cast<float>(x); }
    VAEXPRS_INLINE_MEMBER static float square_root(float x) { return __builtin_sqrtf(x); }
    /// x where `sign` is below 0, else y.
    VAEXPRS_INLINE_MEMBER static float where_negative(Signed sign, float x, float y) {
        return sign < 0 ? x : y;
    }
};

template <class Float>
using Signed = typename FloatTraits<Float>::Signed;
template <class Float>
using Unsigned = typename FloatTraits<Float>::Unsigned;

/// Natural logarithm of x 2^kPower, a positive, normal number; at most 3 units in the last place
/// off. What multiplying first would give, bit by bit, in a step less.
///
/// x = 2^e m with m in [sqrt(1/2), sqrt(2)); log x = e log 2 + log m.
template <int kPower = 0, class Float>
VAEXPRS_INLINE Float log_float(Float x) {
    using Int = Signed<Float>;
    constexpr std::int32_t kRoot = 0x3F3504F3;  // the bits of sqrt(1/2)
    const Int above = __builtin_bit_cast(Int, x) - (kRoot - kPower * (1 << 23));
    const Int exponent = above >> 23;
    const Float f = __builtin_bit_cast(Float, (above & 0x7FFFFF) + kRoot) - 1.0f;
    const Float e = FloatTraits<Float>::convert(exponent);

    // log(1 + f) = f + f^2 tail. In pairs of terms: a chain of eight would leave the core waiting.
    const Float square = f * f;
    const Float low =
        (f * 0x1.5556d8p-2f + -0.5f) + (f * 0x1.98d830p-3f + -0x1.000384p-2f) * square;
    const Float high =
        (f * 0x1.3173d8p-3f + -0x1.538136p-3f) + (f * 0x1.641ca8p-4f + -0x1.244064p-3f) * square;
    const Float tail = low + high * (square * square);
    return (tail * square + f) + e * 0x1.62e430p-1f;
}

/// Exponential for -87 <= x <= 88; at most 2 units in the last place off.
template <class Float>
VAEXPRS_INLINE Float exp_float(Float x) {
    using Bits = Unsigned<Float>;
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum.
    const Float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    const Float n = shifted - 0x1.8p23f;
    const Float r = (x - n * 0x1.62ep-1f) - n * 0x1.0bfbe8p-15f;

    const Float square = r * r;
    const Float high = square * 0x1.6ff122p-10f + (r * 0x1.1257d4p-7f + 0x1.5552fep-5f);
    const Float tail = high * square + (r * 0x1.555466p-3f + 0.5f);
    const Float p = tail * square + (r + 1.0f);
    // 2^n by adding n to the exponent: the low bits of `shifted`, moved there.
    // Unsigned, since the sum may wrap around.
    return __builtin_bit_cast(
        Float, __builtin_bit_cast(Bits, p) + (__builtin_bit_cast(Bits, shifted) << 23));
}

template <class Float>
struct Point {
    Float x, y;
};

/// A point of the unit circle from 32 bits; uniform bits give a uniform point.
///
/// 30 bits are an angle within an eighth of a turn of 0, where short polynomials give cosine and
/// sine; the sine has both signs. One bit is the sign of the cosine, and one exchanges x and y:
/// that covers the circle once, with fewer steps than following the angle around it.
template <class Float>
VAEXPRS_INLINE Point<Float> circle_point(Unsigned<Float> bits) {
    using Int = Signed<Float>;
    // In quarters of a turn, in [-1/2, 1/2).
    const Float t = FloatTraits<Float>::convert(__builtin_bit_cast(Int, bits << 2)) * 0x1p-32f;
    const Float square = t * t;

    Float sine = square * -0x1.33198ep-8f + 0x1.4680a4p-4f;
    sine = sine * square + -0x1.4abc24p-1f;
    sine = sine * square + 0x1.921fb6p+0f;
    sine = sine * t;
    Float cosine = square * 0x1.d47d48p-11f + -0x1.55b146p-6f;
    cosine = cosine * square + 0x1.03c1aep-2f;
    cosine = cosine * square + -0x1.3bd3ccp+0f;
    cosine = cosine * square + 1.0f;
    cosine = __builtin_bit_cast(
        Float, __builtin_bit_cast(Unsigned<Float>, cosine) ^ (bits << 1 & 0x80000000u));

    const auto exchange = __builtin_bit_cast(Int, bits);
    return {FloatTraits<Float>::where_negative(exchange, sine, cosine),
            FloatTraits<Float>::where_negative(exchange, cosine, sine)};
}

}  // namespace vaexprs
