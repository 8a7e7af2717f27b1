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
    [[gnu::always_inline]] static float convert(Signed x) { return static_cast<float>(x); }
    [[gnu::always_inline]] static float square_root(float x) { return __builtin_sqrtf(x); }
};

template <class Float>
using Signed = typename FloatTraits<Float>::Signed;
template <class Float>
using Unsigned = typename FloatTraits<Float>::Unsigned;

/// Natural logarithm of a positive, normal number; at most 2 units in the last place off.
///
/// x = 2^e m with m in [sqrt(1/2), sqrt(2)), log x = e log 2 + log m, and the log of 2 in two parts
/// of which the first times e is exact.
template <class Float>
VAEXPRS_INLINE Float log_float(Float x) {
    using Int = Signed<Float>;
    const Int bits = __builtin_bit_cast(Int, x);
    const Int exponent = (bits - 0x3F3504F3) >> 23;  // 0x3F3504F3 is sqrt(1/2)
    const Float f = __builtin_bit_cast(Float, bits - (exponent << 23)) - 1.0f;
    const Float e = FloatTraits<Float>::convert(exponent);

    Float tail = f * 0x1.641ca8p-4f + -0x1.244064p-3f;
    tail = tail * f + 0x1.3173d8p-3f;
    tail = tail * f + -0x1.538136p-3f;
    tail = tail * f + 0x1.98d830p-3f;
    tail = tail * f + -0x1.000384p-2f;
    tail = tail * f + 0x1.5556d8p-2f;
    const Float square = f * f;
    return e * 0x1.62ep-1f + (f + (square * (f * tail) - square * 0.5f + e * 0x1.0bfbe8p-15f));
}

/// Exponential for -87 <= x <= 88; at most 2 units in the last place off.
template <class Float>
VAEXPRS_INLINE Float exp_float(Float x) {
    using Int = Signed<Float>;
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum.
    const Float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    const Float n = shifted - 0x1.8p23f;
    const Float r = (x - n * 0x1.62ep-1f) - n * 0x1.0bfbe8p-15f;

    Float p = r * 0x1.6ff122p-10f + 0x1.1257d4p-7f;
    p = p * r + 0x1.5552fep-5f;
    p = p * r + 0x1.555466p-3f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // 2^n by adding n to the exponent: the low bits of `shifted`, moved there.
    return __builtin_bit_cast(Float,
                              __builtin_bit_cast(Int, p) + (__builtin_bit_cast(Int, shifted) << 23));
}

/// Sine and cosine of an angle given as a fraction of a turn in 32 bits.
///
/// The two top bits choose the quarter, after half a quarter is added: what is left is an angle
/// within an eighth of a turn of the middle of its quarter, on which short polynomials do. As the
/// reduction is done in integers it is exact.
template <class Float>
struct SineCosine {
    Float sine, cosine;
};

template <class Float>
VAEXPRS_INLINE SineCosine<Float> sine_cosine(Unsigned<Float> turn) {
    using Int = Signed<Float>;
    const Unsigned<Float> quarter = (turn + 0x20000000u) >> 30;
    // Quarter turns, in [-1/2, 1/2).
    const Float x = FloatTraits<Float>::convert(__builtin_bit_cast(Int, turn - (quarter << 30))) * 0x1p-30f;
    const Float square = x * x;

    Float s = square * -0x1.33198ep-8f + 0x1.4680a4p-4f;
    s = s * square + -0x1.4abc24p-1f;
    s = s * square + 0x1.921fb6p+0f;
    s = s * x;
    Float c = square * 0x1.d47d48p-11f + -0x1.55b146p-6f;
    c = c * square + 0x1.03c1aep-2f;
    c = c * square + -0x1.3bd3ccp+0f;
    c = c * square + 1.0f;

    // Quarters 1 and 3 swap sine and cosine; 2 and 3 negate the sine, 1 and 2 the cosine.
    const auto odd = (quarter & 1u) != 0u;
    const Int sine = __builtin_bit_cast(Int, odd ? c : s);
    const Int cosine = __builtin_bit_cast(Int, odd ? s : c);
    const Unsigned<Float> sine_sign = (quarter & 2u) << 30;
    const Unsigned<Float> cosine_sign = ((quarter + 1u) & 2u) << 30;
    return {__builtin_bit_cast(Float, sine ^ __builtin_bit_cast(Int, sine_sign)),
            __builtin_bit_cast(Float, cosine ^ __builtin_bit_cast(Int, cosine_sign))};
}

}  // namespace vaexprs
