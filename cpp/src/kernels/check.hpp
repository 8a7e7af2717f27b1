// Is every number of an array in its range? Asked of parameters at each call, so it must be quick.

#pragma once

#include "lanes.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// Whether low <= x <= high holds for all, as a comparison of numbers that are not NaN.
static inline bool all_within(const float* x, std::size_t n, float low, float high) {
    I32 good = ~I32{};
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const F32 values = load<F32>(x + i);
        good &= (values >= low) & (values <= high);
    }
    bool rest = true;
    for (; i < n; ++i)
        rest &= (x[i] >= low) & (x[i] <= high);
    return rest && bits_of(good) == kAllLanes;
}

}  // namespace vaexprs::VAEXPRS_ISA
