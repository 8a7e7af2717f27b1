// Functions of one number and of two, over arrays.

#pragma once

#include "vaexprs/functions.hpp"

#include "lanes.hpp"

namespace vaexprs::VAEXPRS_ISA {

template <Function kFunction>
static inline void map_values(const float* x, std::size_t n, float alpha, float gamma, float* out) {
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        store(out + i, value_of<kFunction>(load<F32>(x + i), alpha, gamma));
    for (; i < n; ++i)
        out[i] = value_of<kFunction>(x[i], alpha, gamma);
}

static inline void apply_function(Function function, const float* x, std::size_t n, float alpha,
                                  float gamma, float* out) {
    switch (function) {
#define VAEXPRS_CASE(name) \
    case Function::name:   \
        return map_values<Function::name>(x, n, alpha, gamma, out);
        VAEXPRS_FUNCTIONS(VAEXPRS_CASE)
#undef VAEXPRS_CASE
    }
}

template <Operation kOperation>
static inline void combine(const float* x, std::size_t x_stride, const float* y,
                           std::size_t y_stride, std::size_t n, float* out) {
    const auto vector = [](const float* from, std::size_t stride, std::size_t i) {
        return stride == 0 ? broadcast(*from) : load<F32>(from + i);
    };
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        store(out + i, value_of<kOperation>(vector(x, x_stride, i), vector(y, y_stride, i)));
    for (; i < n; ++i)
        out[i] = value_of<kOperation>(x[i * x_stride], y[i * y_stride]);
}

static inline void apply_operation(Operation operation, const float* x, std::size_t x_stride,
                                   const float* y, std::size_t y_stride, std::size_t n,
                                   float* out) {
    switch (operation) {
#define VAEXPRS_CASE(name) \
    case Operation::name:  \
        return combine<Operation::name>(x, x_stride, y, y_stride, n, out);
        VAEXPRS_OPERATIONS(VAEXPRS_CASE)
#undef VAEXPRS_CASE
    }
}

}  // namespace vaexprs::VAEXPRS_ISA
