// The matrix product of a decoder's layer, vectorised over columns and never over what is summed.
//
// Each entry is a sum of rounded products in the order of the inner axis. So it has the same bits
// on every instruction set, and a row does not depend on the rows beside it. (A fused multiply-add
// would be twice as fast, and not every machine has one.) A few rows and a panel of columns are
// summed in registers at a time; the panel stays in the first-level cache for all rows.

#pragma once

#include "lanes.hpp"

namespace vaexprs::VAEXPRS_ISA {

#if defined(__wasm__)
/// Compilers for WebAssembly keep some of 16 registers for themselves.
inline constexpr std::size_t kPanelVectors = 2;
#else
inline constexpr std::size_t kPanelVectors = 3;
#endif
inline constexpr std::size_t kPanel = kPanelVectors * kLanes;

/// Rows at a time: as many sums as registers can hold beside a panel's weights and a product.
#if defined(VAEXPRS_AVX512)
inline constexpr std::size_t kMostRows = 8;
#else
inline constexpr std::size_t kMostRows = 4;
#endif

/// The first n columns of a panel, for kRows rows.
template <std::size_t kRows>
VAEXPRS_INLINE void product_rows(const float* x, std::size_t n_inner, const float* panel,
                                 std::size_t n, std::size_t stride, float* out) {
    F32 sum[kRows][kPanelVectors] = {};
    for (std::size_t k = 0; k < n_inner; ++k, panel += kPanel) {
        F32 weight[kPanelVectors];
#pragma GCC unroll 3
        for (std::size_t v = 0; v < kPanelVectors; ++v)
            weight[v] = load<F32>(panel + v * kLanes);
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kRows; ++i) {
            const F32 factor = broadcast(x[i * n_inner + k]);
#pragma GCC unroll 3
            for (std::size_t v = 0; v < kPanelVectors; ++v)
                sum[i][v] += factor * weight[v];
        }
    }
    for (std::size_t i = 0; i < kRows; ++i, out += stride) {
        if (n == kPanel) {
            for (std::size_t v = 0; v < kPanelVectors; ++v)
                store(out + v * kLanes, sum[i][v]);
        } else {
            std::memcpy(out, sum[i], n * sizeof(float));
        }
    }
}

static inline void product(const float* x, std::size_t n_rows, std::size_t n_inner,
                           const float* packed, std::size_t n, float* out) {
    for (std::size_t first = 0; first < n; first += kPanel, packed += kPanel * n_inner) {
        const std::size_t width = n - first < kPanel ? n - first : kPanel;
        std::size_t i = 0;
        for (; i + kMostRows <= n_rows; i += kMostRows)
            product_rows<kMostRows>(x + i * n_inner, n_inner, packed, width, n,
                                    out + i * n + first);
        for (; i < n_rows; ++i)
            product_rows<1>(x + i * n_inner, n_inner, packed, width, n, out + i * n + first);
    }
}

}  // namespace vaexprs::VAEXPRS_ISA
