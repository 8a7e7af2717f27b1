// The steps of a program. Sums over a row's entries are taken in order.

#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernel_tables.hpp"
#include "program.hpp"

namespace vaexprs::program {

namespace {

/// An operand or a result: its rows, of which there may be one for all.
template <class T>
struct Rows {
    T* data;
    std::size_t n, columns;

    T* row(std::size_t i) const { return data + (n == 1 ? 0 : i) * columns; }
};

/// Applies an operation to two operands, broadcast to the shape of the result.
void combine(const Kernels& kernels, Operation operation, const Rows<const float>& x,
             const Rows<const float>& y, const Rows<float>& out) {
    const auto is_whole = [&](const auto& a) { return a.n == out.n && a.columns == out.columns; };
    if (is_whole(x) && is_whole(y)) {
        kernels.operation(operation, x.data, 1, y.data, 1, out.n * out.columns, out.data);
        return;
    }
    for (std::size_t i = 0; i < out.n; ++i) {
        kernels.operation(operation, x.row(i), x.columns == 1 ? 0 : 1, y.row(i),
                          y.columns == 1 ? 0 : 1, out.columns, out.row(i));
    }
}

/// x / scale + zero, rounded to the nearest level, ties to even.
float quantized(float x, float scale, float zero, const Step& step) {
    constexpr float kWhole = 0x1.8p23f;  // adding it drops what is behind 1
    const float level = bounded(x / scale, -0x1p21f, 0x1p21f);
    return bounded(((level + kWhole) - kWhole) + zero, step.low, step.high);
}

void normalize_layer(const float* x, std::size_t n, const float* scale, const float* bias,
                     float epsilon, float* out) {
    double sum = 0.0, squares = 0.0;
    for (std::size_t j = 0; j < n; ++j)
        sum += x[j];
    const double mean = sum / static_cast<double>(n);
    for (std::size_t j = 0; j < n; ++j)
        squares += (x[j] - mean) * (x[j] - mean);
    const double rate = 1.0 / std::sqrt(squares / static_cast<double>(n) + double{epsilon});
    for (std::size_t j = 0; j < n; ++j) {
        const float unit = static_cast<float>((x[j] - mean) * rate) * scale[j];
        out[j] = bias == nullptr ? unit : unit + bias[j];
    }
}

}  // namespace

void run(const Step& step, const Program& program, std::size_t n_rows, const float* const* from,
         float* to) {
    const Kernels& kernels = program.kernels;
    const auto rows_of = [&](std::size_t id) {
        const Value& value = program.values[id];
        return value.of_cells ? n_rows : value.rows;
    };
    const auto operand = [&](std::size_t k) {
        const std::size_t id = step.inputs[k];
        return Rows<const float>{from[id], rows_of(id), program.values[id].columns};
    };
    const Rows<float> out{to, rows_of(step.output), program.values[step.output].columns};
    const Rows<const float> done{to, out.n, out.columns};
    const Rows<const float> x = operand(0);
    const std::size_t n_inputs = step.inputs.size();
    switch (step.kind) {
        case Kind::copy:
            std::copy_n(x.data, out.n * out.columns, to);
            break;
        case Kind::function:
            kernels.function(step.function, x.data, out.n * out.columns, step.alpha, step.gamma,
                             to);
            break;
        case Kind::operation:
            combine(kernels, step.operation, x, operand(1), out);
            for (std::size_t k = 2; k < n_inputs; ++k)
                combine(kernels, step.operation, done, operand(k), out);
            break;
        case Kind::product: {
            const Kernels& by = step.is_narrow ? kReferenceKernels : kernels;
            by.product(x.data, out.n, x.columns, step.packed.data(), out.columns, to);
            const Rows<const float> alpha{&step.alpha, 1, 1};
            if (step.alpha != 1.0f) combine(kernels, Operation::multiply, done, alpha, out);
            if (n_inputs > 1) combine(kernels, Operation::add, done, operand(1), out);
            break;
        }
        case Kind::softmax:
            for (std::size_t i = 0; i < out.n; ++i) {
                float factor = 0.0f;
                float* row = out.row(i);
                if (!kernels.softmax(x.row(i), nullptr, 1.0f, out.columns, row, factor))
                    factor = std::numeric_limits<float>::quiet_NaN();
                kernels.operation(Operation::multiply, row, 1, &factor, 0, out.columns, row);
            }
            break;
        case Kind::layer_normalization:
            for (std::size_t i = 0; i < out.n; ++i) {
                const float* bias = n_inputs > 2 ? from[step.inputs[2]] : nullptr;
                normalize_layer(x.row(i), out.columns, from[step.inputs[1]], bias, step.alpha,
                                out.row(i));
            }
            break;
        case Kind::concat:
            for (std::size_t k = 0, at = 0; k < n_inputs; ++k) {
                const Rows<const float> part = operand(k);
                if (step.by_rows) {
                    std::copy_n(part.data, part.n * part.columns, to + at * out.columns);
                    at += part.n;
                    continue;
                }
                for (std::size_t i = 0; i < out.n; ++i)
                    std::copy_n(part.data + i * part.columns, part.columns, out.row(i) + at);
                at += part.columns;
            }
            break;
        case Kind::quantize:
        case Kind::dequantize: {
            const float* scale = from[step.inputs[1]];
            const float* zero = n_inputs > 2 ? from[step.inputs[2]] : nullptr;
            const std::size_t stride = operand(1).columns == 1 ? 0 : 1;
            for (std::size_t i = 0; i < out.n; ++i) {
                for (std::size_t j = 0; j < out.columns; ++j) {
                    const float level = zero == nullptr ? 0.0f : zero[j * stride];
                    out.row(i)[j] = step.kind == Kind::quantize
                                        ? quantized(x.row(i)[j], scale[j * stride], level, step)
                                        : (x.row(i)[j] - level) * scale[j * stride];
                }
            }
            break;
        }
    }
}

}  // namespace vaexprs::program
