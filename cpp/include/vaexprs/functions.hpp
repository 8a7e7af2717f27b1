// The functions of a decoder's graph in float32, for one number or for a vector of them.
//
// Plain arithmetic in a fixed order, as in float_math.hpp: the same bits on every machine. NaN
// gives NaN, so that a graph that goes wrong is told by its outputs.

#pragma once

#include <cstdint>
#include <limits>

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"

namespace vaexprs {

/// Functions of one number; alpha and gamma are parameters of some.
#define VAEXPRS_FUNCTIONS(ROW) \
    ROW(elu)                   \
    ROW(erf)                   \
    ROW(exp) ROW(leaky_relu) ROW(log) ROW(relu) ROW(selu) ROW(sigmoid) ROW(softplus) ROW(tanh)

/// Functions of two numbers.
#define VAEXPRS_OPERATIONS(ROW) \
    ROW(add) ROW(subtract) ROW(multiply) ROW(divide) ROW(smaller) ROW(larger)

#define VAEXPRS_NAME(name) name,
enum class Function : std::uint8_t { VAEXPRS_FUNCTIONS(VAEXPRS_NAME) };
enum class Operation : std::uint8_t { VAEXPRS_OPERATIONS(VAEXPRS_NAME) };
#undef VAEXPRS_NAME

template <class Float>
VAEXPRS_INLINE Float constant(float x) {
    return FloatTraits<Float>::broadcast(x);
}

/// x within bounds; NaN becomes the upper one.
template <class Float>
VAEXPRS_INLINE Float bounded(Float x, float low, float high) {
    const Float below = x < constant<Float>(high) ? x : constant<Float>(high);
    return below > constant<Float>(low) ? below : constant<Float>(low);
}

template <class Float>
VAEXPRS_INLINE Float absolute_of(Float x) {
    return __builtin_bit_cast(Float, __builtin_bit_cast(Unsigned<Float>, x) & 0x7FFFFFFFu);
}

/// |x| with the sign of another number.
template <class Float>
VAEXPRS_INLINE Float with_sign(Float x, Float sign) {
    using Bits = Unsigned<Float>;
    return __builtin_bit_cast(Float, (__builtin_bit_cast(Bits, x) & 0x7FFFFFFFu) |
                                         (__builtin_bit_cast(Bits, sign) & 0x80000000u));
}

/// Exponential of any number: 0 below -87, infinite above 88.
template <class Float>
VAEXPRS_INLINE Float exp_of(Float x) {
    const Float inside = exp_float(bounded(x, -87.0f, 88.0f));
    const Float low = x >= constant<Float>(-87.0f) ? inside : constant<Float>(0.0f);
    return x <= constant<Float>(88.0f)
               ? low
               : x * constant<Float>(std::numeric_limits<float>::infinity());
}

/// Natural logarithm of any number.
template <class Float>
VAEXPRS_INLINE Float log_of(Float x) {
    const Float zero = constant<Float>(0.0f), tiny = constant<Float>(0x1p-126f);
    const Float largest = constant<Float>(std::numeric_limits<float>::max());
    const Float positive = x > zero ? x : constant<Float>(1.0f);
    const Float finite = positive <= largest ? positive : largest;
    // What is too small to be normal is scaled up first.
    const Float scaled = finite < tiny ? finite * 0x1p24f : finite;
    const Float power = finite < tiny ? constant<Float>(0x1.0a2b24p+4f) : zero;
    const Float made = log_float(scaled) - power;
    const Float upper = x <= largest ? made : x;
    const Float infinite = constant<Float>(-std::numeric_limits<float>::infinity());
    const Float none = constant<Float>(std::numeric_limits<float>::quiet_NaN());
    const Float lower = x == zero ? infinite : none;
    return x > zero ? upper : lower;
}

/// log(1 + s) for s >= 0, accurate for small s too: the rounding of 1 + s cancels in the ratio
/// (D. Goldberg, "What every computer scientist should know about floating-point arithmetic", ACM
/// Computing Surveys 23 (1991), theorem 4).
template <class Float>
VAEXPRS_INLINE Float log_one_plus(Float s) {
    const Float sum = s + 1.0f;
    const Float ratio = s / (sum - 1.0f);
    return sum == constant<Float>(1.0f) ? s : log_float(sum) * ratio;
}

template <class Float>
VAEXPRS_INLINE Float sigmoid_of(Float x) {
    return 1.0f / (exp_of(-x) + 1.0f);
}

/// At most 3 units in the last place off.
template <class Float>
VAEXPRS_INLINE Float tanh_of(Float x) {
    const Float size = absolute_of(x), square = x * x;
    Float tail = square * -0x1.767a14p-8f + 0x1.524c4p-6f;
    tail = tail * square + -0x1.b842c4p-5f;
    tail = tail * square + 0x1.11075ep-3f;
    tail = tail * square + -0x1.555534p-2f;
    const Float small = (tail * square) * x + x;
    // From 9.1 on the result is 1.
    const Float power = exp_float(bounded(size + size, 0.0f, 18.2f));
    const Float large = with_sign(1.0f - 2.0f / (power + 1.0f), x);
    const Float made = size < constant<Float>(0.625f) ? small : large;
    return x == x ? made : x;
}

/// log(1 + exp(x)).
template <class Float>
VAEXPRS_INLINE Float softplus_of(Float x) {
    const Float above = x > constant<Float>(0.0f) ? x : constant<Float>(0.0f);
    return above + log_one_plus(exp_of(-absolute_of(x)));
}

/// Absolute error below 2e-7.
template <class Float>
VAEXPRS_INLINE Float erf_of(Float x) {
    const Float square = x * x;
    Float factor = square * -0x1.b9b94cp-16f + -0x1.f9b17cp-12f;
    factor = factor * square + 0x1.3c27bap-8f;
    factor = factor * square + -0x1.b4d20ap-6f;
    factor = factor * square + 0x1.cdfc8ep-4f;
    factor = factor * square + -0x1.81262cp-2f;
    factor = factor * square + 0x1.20dd74p+0f;
    // From 4 on the result is 1.
    const Float size = bounded(absolute_of(x), 1.0f, 4.0f);
    Float rest = size * 0x1.853192p-13f + -0x1.814ed6p-9f;
    rest = rest * size + 0x1.6542c2p-6f;
    rest = rest * size + -0x1.a60aaep-4f;
    rest = rest * size + -0x1.46c582p-1f;
    rest = rest * size + -0x1.2085b2p+0f;
    rest = rest * size + -0x1.72e8d4p-12f;
    const Float large = with_sign(1.0f - exp_float(rest), x);
    const Float made = absolute_of(x) < constant<Float>(1.0f) ? x * factor : large;
    return x == x ? made : x;
}

template <Function kFunction, class Float>
VAEXPRS_INLINE Float value_of(Float x, float alpha, float gamma) {
    const Float zero = constant<Float>(0.0f);
    if constexpr (kFunction == Function::elu) return x >= zero ? x : (exp_of(x) - 1.0f) * alpha;
    if constexpr (kFunction == Function::erf) return erf_of(x);
    if constexpr (kFunction == Function::exp) return exp_of(x);
    if constexpr (kFunction == Function::leaky_relu) return x >= zero ? x : x * alpha;
    if constexpr (kFunction == Function::log) return log_of(x);
    if constexpr (kFunction == Function::relu) return x <= zero ? zero : x;
    if constexpr (kFunction == Function::selu)
        return (x > zero ? x : exp_of(x) * alpha - alpha) * gamma;
    if constexpr (kFunction == Function::sigmoid) return sigmoid_of(x);
    if constexpr (kFunction == Function::softplus) return softplus_of(x);
    if constexpr (kFunction == Function::tanh) return tanh_of(x);
}

template <Operation kOperation, class Float>
VAEXPRS_INLINE Float value_of(Float x, Float y) {
    if constexpr (kOperation == Operation::add) return x + y;
    if constexpr (kOperation == Operation::subtract) return x - y;
    if constexpr (kOperation == Operation::multiply) return x * y;
    if constexpr (kOperation == Operation::divide) return x / y;
    // NaN wins, wherever it stands.
    if constexpr (kOperation == Operation::smaller)
        return x < y ? x : (y == y ? (x == x ? y : x) : y);
    if constexpr (kOperation == Operation::larger)
        return x > y ? x : (y == y ? (x == x ? y : x) : y);
}

}  // namespace vaexprs
