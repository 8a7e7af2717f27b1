// A graph made ready to run: constants computed, weights packed, results given their places.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "vaexprs/functions.hpp"
#include "vaexprs/kernels.hpp"

#include "../onnx/ending.hpp"

namespace vaexprs::program {

/// Where the rows of a value are.
enum class Home : std::uint8_t { constant, input, slot, output };

struct Value {
    onnx::Dims dims;
    bool of_cells = false;  ///< one row for each cell
    std::size_t rows = 1;   ///< where it is not
    std::size_t columns = 1;
    Home home = Home::constant;
    std::size_t place = 0;  ///< number of an input or output, or the first column of a slot
    std::int64_t type = onnx::kFloat;
    const onnx::Tensor* tensor = nullptr;
    std::vector<float> data;  ///< of a constant, as numbers whatever the type
    std::size_t uses = 0;     ///< by nodes that are not done yet
    bool is_kept = false;     ///< a constant that steps read
};

enum class Kind : std::uint8_t {
    concat,
    copy,
    dequantize,
    function,
    layer_normalization,
    operation,
    product,
    quantize,
    softmax,
};

/// One operation on values, by their numbers in the program.
struct Step {
    Kind kind = Kind::copy;
    std::vector<std::size_t> inputs;
    std::size_t output = 0;
    Function function{};
    Operation operation{};
    float alpha = 1.0f, gamma = 1.0f;  ///< of functions; alpha and beta of products, epsilon
    float low = 0.0f, high = 0.0f;     ///< levels of a quantised value
    std::vector<float> packed;         ///< weights of a product
    bool is_narrow = false;            ///< a product of few columns, by the scalar kernel
    bool by_rows = false;              ///< concatenation of rows
};

struct Program {
    Program(std::string_view model, const Interface& interface, const Kernels& kernels);

    const Kernels& kernels;
    std::vector<Value> values;
    std::vector<Step> steps;
    std::vector<std::size_t> outputs;  ///< numbers of the graph's outputs
    std::size_t slots_width = 0;
    std::size_t n_values = 0;
    bool gives_logits = false;
    std::vector<float> bias;
};

/// Runs a step for n_rows cells; `from` has the rows of every value.
void run(const Step& step, const Program& program, std::size_t n_rows, const float* const* from,
         float* to);

}  // namespace vaexprs::program
