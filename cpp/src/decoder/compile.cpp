#include <algorithm>
#include <cstring>

#include "../onnx/checks.hpp"
#include "program.hpp"

namespace vaexprs::program {

namespace {

using onnx::Attribute;
using onnx::Bytes;
using onnx::Dims;
using onnx::Node;
using onnx::Tensor;

/// The numbers of a constant of the file.
std::vector<float> numbers_of(const Tensor& tensor) {
    std::vector<float> numbers(static_cast<std::size_t>(onnx::size_of(tensor.dims)));
    for (std::size_t i = 0; i < tensor.integers.size(); ++i) {
        // As a cast of the integers to the type of the tensor.
        const std::int64_t n = tensor.integers[i];
        numbers[i] =
            static_cast<float>(tensor.type == onnx::kUint8  ? static_cast<std::uint8_t>(n)
                               : tensor.type == onnx::kInt8 ? static_cast<std::int8_t>(n)
                                                            : static_cast<std::int32_t>(n));
    }
    if (!tensor.integers.empty()) return numbers;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const char* at = tensor.raw.data() + i * onnx::item_size(tensor.type);
        if (tensor.type == onnx::kFloat) {
            std::memcpy(&numbers[i], at, sizeof(float));
        } else if (tensor.type == onnx::kInt32) {
            std::int32_t n;
            std::memcpy(&n, at, sizeof n);
            numbers[i] = static_cast<float>(n);
        } else {
            numbers[i] = tensor.type == onnx::kInt8
                             ? static_cast<float>(static_cast<signed char>(*at))
                             : static_cast<float>(static_cast<unsigned char>(*at));
        }
    }
    return numbers;
}

/// Weights, n_inner x n or the other way round, as the product kernel takes them.
std::vector<float> pack(const std::vector<float>& weights, std::size_t n_inner, std::size_t n,
                        std::size_t panel, bool is_transposed) {
    std::vector<float> packed((n + panel - 1) / panel * panel * n_inner, 0.0f);
    for (std::size_t k = 0; k < n_inner; ++k) {
        for (std::size_t j = 0; j < n; ++j) {
            packed[j / panel * panel * n_inner + k * panel + j % panel] =
                weights[is_transposed ? j * n_inner + k : k * n + j];
        }
    }
    return packed;
}

const std::map<Bytes, Function> kFunctions{
    {"Elu", Function::elu},           {"Erf", Function::erf},
    {"Exp", Function::exp},           {"LeakyRelu", Function::leaky_relu},
    {"Log", Function::log},           {"Relu", Function::relu},
    {"Selu", Function::selu},         {"Sigmoid", Function::sigmoid},
    {"Softplus", Function::softplus}, {"Tanh", Function::tanh}};

const std::map<Bytes, Operation> kOperations{
    {"Add", Operation::add},     {"Div", Operation::divide},   {"Max", Operation::larger},
    {"Min", Operation::smaller}, {"Mul", Operation::multiply}, {"Sub", Operation::subtract}};

float number(const Node& node, Bytes name, float otherwise) {
    const Attribute* attribute = node.attribute(name);
    return attribute == nullptr ? otherwise : attribute->number;
}

[[noreturn]] void refuse_to_run(const Node& node, const std::string& what) {
    onnx::refuse("graph.node " + onnx::quoted(node.name.empty() ? node.outputs[0] : node.name) +
                 " (" + node.op_type + ") " + what +
                 ", which the portable decoder does not run: use onnxruntime.");
}

/// Makes the steps of a program, node after node.
class Compiler {
  public:
    Compiler(Program& program, const onnx::Graph& graph, const Interface& interface)
        : program_(program), graph_(graph), shapes_(onnx::check_shapes(graph, interface)) {
        for (const Node& node : graph.nodes) {
            for (const std::string& name : node.inputs)
                uses_[name] += 1;
        }
        for (std::size_t k = 0; k < interface.inputs.size(); ++k)
            add(interface.inputs[k].first, Home::input, k);
        for (const Tensor& tensor : graph.initializers) {
            Value& value = program.values[add(tensor.name, Home::constant, 0)];
            value.tensor = &tensor;
            value.type = tensor.type;
        }
        const bool counts = interface.inputs.back().first == "library";
        if (counts) ending_ = onnx::find_ending(graph, interface, shapes_);
        if (ending_) take_ending();
        for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
            if (!ending_ || !ending_->left_out.contains(i)) add_node(i, interface);
        }
        for (const std::string& name : interface.outputs) {
            const std::size_t id = numbers_.at(name);
            program.outputs.push_back(id);
            if (!program.values[id].of_cells) keep(id);
        }
        for (Value& value : program.values) {
            if (!value.is_kept) value.data = {};
            value.tensor = nullptr;
        }
    }

  private:
    std::size_t add(const std::string& name, Home home, std::size_t place) {
        Value value;
        value.dims = shapes_.at(name);
        value.of_cells = !value.dims.empty() && value.dims[0] == onnx::kCells;
        if (value.dims.size() == 2) value.rows = static_cast<std::size_t>(std::abs(value.dims[0]));
        if (!value.dims.empty()) value.columns = static_cast<std::size_t>(value.dims.back());
        value.home = home;
        value.place = place;
        value.uses = uses_[name];
        numbers_[name] = program_.values.size();
        program_.values.push_back(std::move(value));
        return program_.values.size() - 1;
    }

    const std::vector<float>& data_of(std::size_t id) {
        Value& value = program_.values[id];
        if (value.data.empty() && value.tensor != nullptr) value.data = numbers_of(*value.tensor);
        return value.data;
    }

    void keep(std::size_t id) {
        data_of(id);
        program_.values[id].is_kept = true;
    }

    void take_ending() {
        program_.gives_logits = true;
        if (!ending_->bias) return;
        program_.bias = data_of(numbers_.at(*ending_->bias));
        // A share does not change by what is added to all logits, and the kernel is quickest where
        // they are not large.
        const float largest = *std::max_element(program_.bias.begin(), program_.bias.end());
        for (float& level : program_.bias)
            level -= largest;
    }

    void add_node(std::size_t i, const Interface& interface) {
        const Node& node = graph_.nodes[i];
        const bool is_last = ending_ && ending_->place == i;
        Step step;
        for (std::size_t k = 0; k < node.inputs.size(); ++k) {
            if (is_last && ending_->without_third && k == 2) break;
            if (node.has(k)) step.inputs.push_back(numbers_.at(node.inputs[k]));
        }
        describe(node, step);
        const std::string& name = is_last ? "mean" : node.outputs[0];
        const auto output = std::find(interface.outputs.begin(), interface.outputs.end(), name);
        const bool is_output = output != interface.outputs.end();
        step.output = add(name, is_output ? Home::output : Home::slot,
                          static_cast<std::size_t>(output - interface.outputs.begin()));
        Value& value = program_.values[step.output];
        if (step.kind == Kind::quantize)
            value.type = step.high == 255.0f ? onnx::kUint8 : onnx::kInt8;
        if (!value.of_cells) {
            compute(step);
            value.is_kept = is_output;
        } else {
            program_.n_values += value.columns;
            if (!is_output) value.place = take_slot(value.columns);
            for (const std::size_t id : step.inputs)
                if (program_.values[id].home == Home::constant) keep(id);
            program_.steps.push_back(std::move(step));
        }
        for (const std::string& used : node.inputs) {
            if (!used.empty()) release(numbers_.at(used));
        }
    }

    /// What a node does, in terms of a step; its inputs are there.
    void describe(const Node& node, Step& step) {
        const auto function = kFunctions.find(node.op_type);
        const auto operation = kOperations.find(node.op_type);
        if (function != kFunctions.end()) {
            step.kind = Kind::function;
            step.function = function->second;
            const bool selu = step.function == Function::selu;
            const float alpha = selu ? 1.67326319217681884765625f
                                     : (step.function == Function::leaky_relu ? 0.01f : 1.0f);
            step.alpha = number(node, "alpha", alpha);
            step.gamma = number(node, "gamma", 1.05070102214813232421875f);
        } else if (operation != kOperations.end()) {
            step.kind = step.inputs.size() == 1 ? Kind::copy : Kind::operation;
            step.operation = operation->second;
        } else if (node.op_type == "MatMul" || node.op_type == "Gemm") {
            describe_product(node, step);
        } else if (node.op_type == "Concat") {
            const Dims& dims = program_.values[step.inputs[0]].dims;
            const std::int64_t axis = node.attribute("axis")->integer;
            step.kind = Kind::concat;
            step.by_rows = dims.size() == 2 && (axis == 0 || axis == -2);
        } else if (node.op_type == "Identity") {
            step.kind = Kind::copy;
        } else {
            describe_row(node, step);
        }
        const bool dequantizes = step.kind == Kind::dequantize;
        for (std::size_t k = 0; k < step.inputs.size(); ++k) {
            const bool is_level =
                (dequantizes && k != 1) || (step.kind == Kind::quantize && k == 2);
            if (is_level == (program_.values[step.inputs[k]].type == onnx::kFloat))
                refuse_to_run(node, is_level ? "takes floats for integers" : "takes integers");
        }
    }

    /// Operators that work along rows.
    void describe_row(const Node& node, Step& step) {
        const Dims& dims = program_.values[step.inputs[0]].dims;
        const bool is_scale =
            node.op_type.ends_with("QuantizeLinear") || node.op_type == "DequantizeLinear";
        const Attribute* attribute = node.attribute("axis");
        const std::int64_t axis = attribute != nullptr ? attribute->integer : is_scale ? 1 : -1;
        const bool is_last = axis == -1 || axis + 1 == static_cast<std::int64_t>(dims.size());
        const bool is_one = is_scale && program_.values[step.inputs[1]].columns == 1;
        if (!is_last && !is_one) refuse_to_run(node, "works along rows of a constant");
        if (node.op_type == "Softmax") {
            step.kind = Kind::softmax;
        } else if (node.op_type == "LayerNormalization") {
            step.kind = Kind::layer_normalization;
            step.alpha = number(node, "epsilon", 1e-5f);
        } else if (node.op_type == "DequantizeLinear") {
            step.kind = Kind::dequantize;
        } else {
            step.kind = Kind::quantize;
            const std::int64_t type =
                step.inputs.size() > 2 ? program_.values[step.inputs[2]].type : onnx::kUint8;
            if (type == onnx::kInt32) refuse_to_run(node, "rounds to int32");
            step.low = type == onnx::kInt8 ? -128.0f : 0.0f;
            step.high = type == onnx::kInt8 ? 127.0f : 255.0f;
        }
    }

    void describe_product(const Node& node, Step& step) {
        const auto flag = [&](Bytes name) {
            const Attribute* attribute = node.attribute(name);
            return attribute != nullptr && attribute->integer == 1;
        };
        step.kind = Kind::product;
        step.alpha = number(node, "alpha", 1.0f);
        if (flag("transA")) refuse_to_run(node, "turns its first matrix");
        if (number(node, "beta", 1.0f) != 1.0f && step.inputs.size() > 2)
            refuse_to_run(node, "scales what it adds");
        const std::size_t id = step.inputs[1];
        const Value& weights = program_.values[id];
        if (weights.type != onnx::kFloat) refuse_to_run(node, "takes integers");
        const std::size_t n_inner = program_.values[step.inputs[0]].columns;
        const std::size_t n = weights.rows * weights.columns / n_inner;
        // Panels are filled up with zeros: not where these would be most of them.
        step.is_narrow = n < program_.kernels.panel;
        const std::size_t panel = step.is_narrow ? 1 : program_.kernels.panel;
        step.packed = pack(data_of(id), n_inner, n, panel, flag("transB"));
        step.inputs.erase(step.inputs.begin() + 1);
    }

    /// Runs a step whose result is a constant.
    void compute(const Step& step) {
        std::vector<const float*> from(program_.values.size(), nullptr);
        for (const std::size_t id : step.inputs)
            from[id] = data_of(id).data();
        Value& value = program_.values[step.output];
        value.data.resize(value.rows * value.columns);
        run(step, program_, 0, from.data(), value.data.data());
        value.home = Home::constant;
    }

    std::size_t take_slot(std::size_t width) {
        for (auto slot = free_.begin(); slot != free_.end(); ++slot) {
            if (slot->second != width) continue;
            const std::size_t place = slot->first;
            free_.erase(slot);
            return place;
        }
        program_.slots_width += width;
        return program_.slots_width - width;
    }

    /// One use of a value is over.
    void release(std::size_t id) {
        Value& value = program_.values[id];
        if (--value.uses > 0) return;
        if (value.home == Home::slot) free_.emplace(value.place, value.columns);
        if (value.home == Home::constant && !value.is_kept) value.data = {};
    }

    Program& program_;
    const onnx::Graph& graph_;
    onnx::Shapes shapes_;
    std::optional<onnx::Ending> ending_;
    std::map<std::string, std::size_t> numbers_, uses_;
    std::map<std::size_t, std::size_t> free_;  ///< slots by their place, with their widths
};

}  // namespace

Program::Program(std::string_view model, const Interface& interface, const Kernels& with)
    : kernels(with) {
    const onnx::Model checked = onnx::checked_model(model);
    onnx::check_interface(checked, interface);
    Compiler(*this, checked.graph, interface);
}

}  // namespace vaexprs::program
