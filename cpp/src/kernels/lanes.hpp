// Vectors of 32-bit numbers, as wide as the instruction set this file is compiled for.
//
// GCC and Clang give arithmetic, comparisons and ?: on vectors the meaning of the same operators
// on numbers, so that the formulas in threefry.hpp and float_math.hpp serve both. What has no
// operator is here, a few lines each: square root, gather, widening of bytes, bits of a mask.
//
// Everything in this folder is in a namespace named after the instruction set, so that its classes
// and functions may differ between object files. Nothing of the standard library that might leave
// an out-of-line copy behind may be used here: see vaexprs/inline.hpp.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"

static_assert(std::endian::native == std::endian::little, "tiles are stored little end first");

namespace vaexprs::VAEXPRS_ISA {

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define VAEXPRS_AVX512 1
inline constexpr std::uint32_t kLanes = 16;
#elif defined(__AVX2__)
#define VAEXPRS_AVX2 1
inline constexpr std::uint32_t kLanes = 8;
#else
inline constexpr std::uint32_t kLanes = 4;
#endif

typedef float F32 __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t I32 __attribute__((vector_size(4 * kLanes)));
typedef std::uint32_t U32 __attribute__((vector_size(4 * kLanes)));

template <class Vector, class Number>
VAEXPRS_INLINE Vector load(const Number* from) {
    static_assert(sizeof(Number) == 4);
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class Number>
VAEXPRS_INLINE void store(Number* to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

/// (Adding to 0 would take the sign of -0.)
VAEXPRS_INLINE F32 broadcast(float x) {
    return x - F32{};
}

VAEXPRS_INLINE U32 broadcast(std::uint32_t x) {
    return U32{} + x;
}

/// 0, 1, 2, ...
VAEXPRS_INLINE U32 lane_numbers() {
    U32 numbers;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        numbers[lane] = lane;
    return numbers;
}

VAEXPRS_INLINE F32 to_float(I32 x) {
    return __builtin_convertvector(x, F32);
}

#if defined(VAEXPRS_AVX512)
/// The forms of intrinsics without a mask leave lanes undefined, in name, and GCC warns of that.
inline constexpr __mmask16 kEveryLane = 0xFFFF;
#endif

/// x where `sign` is below 0, else y. (GCC would compare, though the choice looks at signs alone.)
VAEXPRS_INLINE F32 where_negative(I32 sign, F32 x, F32 y) {
#if defined(VAEXPRS_AVX512)
    return (F32)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)sign), (__m512)y, (__m512)x);
#elif defined(VAEXPRS_AVX2)
    return (F32)_mm256_blendv_ps((__m256)y, (__m256)x, (__m256)sign);
#else
    return sign < 0 ? x : y;
#endif
}

VAEXPRS_INLINE F32 square_root(F32 x) {
#if defined(VAEXPRS_AVX512)
    return (F32)_mm512_maskz_sqrt_ps(kEveryLane, (__m512)x);
#elif defined(VAEXPRS_AVX2)
    return (F32)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
    return (F32)_mm_sqrt_ps((__m128)x);
#else
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        x[lane] = __builtin_sqrtf(x[lane]);
    return x;
#endif
}

}  // namespace vaexprs::VAEXPRS_ISA

template <>
struct vaexprs::FloatTraits<vaexprs::VAEXPRS_ISA::F32> {
    using Signed = vaexprs::VAEXPRS_ISA::I32;
    using Unsigned = vaexprs::VAEXPRS_ISA::U32;
    using F32 = vaexprs::VAEXPRS_ISA::F32;
    VAEXPRS_INLINE_MEMBER static F32 broadcast(float x) {
        return vaexprs::VAEXPRS_ISA::broadcast(x);
    }
    VAEXPRS_INLINE_MEMBER static F32 convert(Signed x) { return vaexprs::VAEXPRS_ISA::to_float(x); }
    VAEXPRS_INLINE_MEMBER static F32 square_root(F32 x) {
        return vaexprs::VAEXPRS_ISA::square_root(x);
    }
    VAEXPRS_INLINE_MEMBER static F32 where_negative(Signed sign, F32 x, F32 y) {
        return vaexprs::VAEXPRS_ISA::where_negative(sign, x, y);
    }
};

namespace vaexprs::VAEXPRS_ISA {

VAEXPRS_INLINE F32 gather(const float* from, U32 index) {
    // The instruction merges into a register. GCC sees that no lane is left to merge, and takes any
    // register: one that is still being computed in the round of the loop before, say, so that the
    // rounds wait for each other. A mask that it cannot see through makes it clear the register
    // first. (Measured: a phase of the zero-inflated law takes 60 % less time.)
#if defined(VAEXPRS_AVX512)
    __mmask16 mask = kEveryLane;
    asm("" : "+Yk"(mask));
    return (F32)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, (__m512i)index, from, 4);
#elif defined(VAEXPRS_AVX2)
    __m256 mask = (__m256)~U32{};
    asm("" : "+x"(mask));
    return (F32)_mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, (__m256i)index, mask, 4);
#else
    F32 values;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        values[lane] = from[index[lane]];
    return values;
#endif
}

/// kLanes bytes, each widened to 32 bits.
VAEXPRS_INLINE U32 widen_bytes(const std::uint8_t* from) {
#if defined(VAEXPRS_AVX512)
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return (U32)_mm512_maskz_cvtepu8_epi32(kEveryLane, bytes);
#elif defined(VAEXPRS_AVX2)
    return (U32)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
#elif defined(__wasm_simd128__)
    const v128_t bytes = wasm_v128_load32_zero(from);
    return (U32)wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(bytes));
#else
    U32 values;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        values[lane] = from[lane];
    return values;
#endif
}

/// One bit for each lane, set where a comparison held.
VAEXPRS_INLINE std::uint32_t bits_of(I32 mask) {
#if defined(VAEXPRS_AVX512)
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(VAEXPRS_AVX2)
    return static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__)
    return static_cast<std::uint32_t>(_mm_movemask_ps((__m128)mask));
#elif defined(__wasm_simd128__)
    return wasm_i32x4_bitmask((v128_t)mask);
#else
    std::uint32_t bits = 0;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        bits |= (mask[lane] & 1u) << lane;
    return bits;
#endif
}

// The instructions take the bound where x is NaN, as ?: does. GCC does not see that they are the
// same, and compares and then chooses.

VAEXPRS_INLINE F32 smaller(F32 x, float bound) {
#if defined(VAEXPRS_AVX512)
    return (F32)_mm512_maskz_min_ps(kEveryLane, (__m512)x, (__m512)broadcast(bound));
#elif defined(VAEXPRS_AVX2)
    return (F32)_mm256_min_ps((__m256)x, (__m256)broadcast(bound));
#elif defined(__SSE2__)
    return (F32)_mm_min_ps((__m128)x, (__m128)broadcast(bound));
#elif defined(__wasm_simd128__)
    return (F32)wasm_f32x4_pmin((v128_t)broadcast(bound), (v128_t)x);
#else
    return x < bound ? x : broadcast(bound);
#endif
}

VAEXPRS_INLINE F32 larger(F32 x, float bound) {
#if defined(VAEXPRS_AVX512)
    return (F32)_mm512_maskz_max_ps(kEveryLane, (__m512)x, (__m512)broadcast(bound));
#elif defined(VAEXPRS_AVX2)
    return (F32)_mm256_max_ps((__m256)x, (__m256)broadcast(bound));
#elif defined(__SSE2__)
    return (F32)_mm_max_ps((__m128)x, (__m128)broadcast(bound));
#elif defined(__wasm_simd128__)
    return (F32)wasm_f32x4_pmax((v128_t)broadcast(bound), (v128_t)x);
#else
    return x > bound ? x : broadcast(bound);
#endif
}

inline constexpr std::uint32_t kAllLanes = (1u << kLanes) - 1;

VAEXPRS_INLINE F32 absolute(F32 x) {
    return __builtin_bit_cast(F32, __builtin_bit_cast(I32, x) & 0x7FFFFFFF);
}

}  // namespace vaexprs::VAEXPRS_ISA
