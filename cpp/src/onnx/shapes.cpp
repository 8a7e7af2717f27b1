#include "shapes.hpp"

#include <algorithm>
#include <numeric>

namespace vaexprs::onnx {

namespace {

// Limits: see vaexprs/artifact/onnx/shapes.py.
constexpr std::int64_t kMaxResults = 64, kModestWidth = 4096, kMaxValues = std::int64_t{1} << 24;

/// A node with the shapes of its inputs; refuses in the name of the node.
struct Call {
    const Node& node;
    const Shapes& shapes;
    std::int64_t n_products = 0;  ///< multiplications of a matrix product

    [[noreturn]] void refuse(const std::string& problem) const {
        std::string label = node.name;
        for (std::size_t i = 0;
             node.name.empty() && i < std::min<std::size_t>(3, node.outputs.size()); ++i)
            label += (i > 0 ? ", " : "") + node.outputs[i];
        onnx::refuse("graph.node " + quoted(label) + " (" + node.op_type + ") " + problem + ".");
    }

    const Dims& shape(std::size_t index) const {
        if (!node.has(index)) refuse("lacks its input " + std::to_string(index));
        const auto found = shapes.find(node.inputs[index]);
        if (found == shapes.end()) {
            refuse("takes " + quoted(node.inputs[index]) +
                   ", which no input, initializer or earlier node gives");
        }
        return found->second;
    }

    bool flag(Bytes name) const {
        const Attribute* attribute = node.attribute(name);
        const std::int64_t value = attribute == nullptr ? 0 : attribute->integer;
        if (value != 0 && value != 1) {
            refuse("has the attribute " + quoted(name) + " of " + std::to_string(value) +
                   ", expected 0 or 1");
        }
        return value == 1;
    }

    /// The attribute "axis" counted from the front; the axis of cells is refused.
    std::size_t axis(std::int64_t otherwise, const Dims& dims) const {
        const Attribute* attribute = node.attribute("axis");
        std::int64_t axis = attribute == nullptr ? otherwise : attribute->integer;
        const auto rank = static_cast<std::int64_t>(dims.size());
        if (axis < -rank || axis >= rank)
            refuse("works along axis " + std::to_string(axis) + " of the shape " + shown(dims));
        if (axis < 0) axis += rank;
        const auto place = static_cast<std::size_t>(axis);
        if (dims[place] == kCells) refuse("works along the axis of cells, and so would mix them");
        return place;
    }

    /// The shape of an elementwise result.
    Dims broadcast(const std::vector<Dims>& all) const {
        std::size_t rank = 0;
        for (const Dims& dims : all)
            rank = std::max(rank, dims.size());
        Dims result(rank, 1);
        for (const Dims& dims : all) {
            for (std::size_t i = 0; i < dims.size(); ++i) {
                std::int64_t& to = result[rank - dims.size() + i];
                if (dims[i] == 1 || dims[i] == to) continue;
                if (to != 1) {
                    std::string text;
                    for (const Dims& shape : all)
                        text += (text.empty() ? "" : " and ") + shown(shape);
                    refuse("takes shapes that do not fit: " + text);
                }
                to = dims[i];
            }
        }
        return result;
    }
};

using Rule = Dims (*)(Call&);

Dims like_first(Call& call) {
    return call.shape(0);
}

Dims of_two(Call& call) {
    const Dims &a = call.shape(0), &b = call.shape(1);
    return call.broadcast({a, b});
}

Dims of_many(Call& call) {
    std::vector<Dims> all{call.shape(0)};
    for (std::size_t i = 1; i < call.node.inputs.size(); ++i)
        all.push_back(call.shape(i));
    return call.broadcast(all);
}

Dims of_softmax(Call& call) {
    call.axis(-1, call.shape(0));
    return call.shape(0);
}

Dims of_layer_normalization(Call& call) {
    const Dims& shape = call.shape(0);
    const Dims width(shape.begin() + static_cast<std::ptrdiff_t>(call.axis(-1, shape)),
                     shape.end());
    for (std::size_t i = 1; i < std::max<std::size_t>(call.node.inputs.size(), 2); ++i) {
        if (call.shape(i) != width)
            call.refuse("scales " + shown(shape) + " by " + shown(call.shape(i)));
    }
    return shape;
}

/// One scale for all values, or one for each place along an axis; zero points alike.
Dims of_quantized(Call& call) {
    const Dims &shape = call.shape(0), &scale = call.shape(1);
    if (scale != Dims{} && scale != Dims{1} && scale != Dims{shape[call.axis(1, shape)]})
        call.refuse("scales " + shown(shape) + " by " + shown(scale));
    if (call.node.has(2) && call.shape(2) != scale) {
        call.refuse("has a scale of shape " + shown(scale) + " and a zero of " +
                    shown(call.shape(2)));
    }
    return shape;
}

Dims of_product(Call& call, const Dims& a, const Dims& b) {
    if (a.size() != 2 || b.size() != 2 || a[1] != b[0] || b[0] == kCells || b[1] == kCells) {
        call.refuse("takes " + shown(a) + " and " + shown(b) +
                    ", expected (rows, k) and (k, columns) with a second matrix that does not "
                    "depend on the cells");
    }
    call.n_products = std::abs(a[0]) * a[1] * b[1];
    return {a[0], b[1]};
}

Dims of_matmul(Call& call) {
    return of_product(call, call.shape(0), call.shape(1));
}

Dims of_gemm(Call& call) {
    Dims a = call.shape(0), b = call.shape(1);
    if (call.flag("transA")) std::reverse(a.begin(), a.end());
    if (call.flag("transB")) std::reverse(b.begin(), b.end());
    Dims result = of_product(call, a, b);
    if (!call.node.has(2)) return result;
    const Dims& added = call.shape(2);
    if (call.broadcast({result, added}) != result)
        call.refuse("adds " + shown(added) + " to a product of shape " + shown(result));
    return result;
}

Dims of_concat(Call& call) {
    if (call.node.inputs.empty() || call.node.attribute("axis") == nullptr)
        call.refuse("lacks its inputs or its axis");
    Dims result = call.shape(0);
    const std::size_t axis = call.axis(0, result);
    result[axis] = 0;
    for (std::size_t i = 0; i < call.node.inputs.size(); ++i) {
        Dims dims = call.shape(i);
        const std::int64_t length = dims.size() == result.size() ? dims[axis] : 0;
        const std::int64_t before = result[axis];
        if (dims.size() == result.size()) dims[axis] = before;
        if (dims != result) {
            call.refuse("takes shapes that do not fit: " + shown(call.shape(0)) + " and " +
                        shown(call.shape(i)));
        }
        result[axis] = before + length;
    }
    return result;
}

/// An operator: the shape of its result, its most inputs, and its attributes, floats ("f") and
/// integers ("i").
struct Operator {
    const char* name;
    Rule rule;
    std::size_t most_inputs;
    std::pair<const char*, char> attributes[4];
};

constexpr Operator kOperators[] = {
    {"Add", of_two, 2, {}},
    {"Concat", of_concat, 64, {{"axis", 'i'}}},
    {"DequantizeLinear", of_quantized, 3, {{"axis", 'i'}}},
    {"Div", of_two, 2, {}},
    {"Elu", like_first, 1, {{"alpha", 'f'}}},
    {"Erf", like_first, 1, {}},
    {"Exp", like_first, 1, {}},
    {"Gemm", of_gemm, 3, {{"alpha", 'f'}, {"beta", 'f'}, {"transA", 'i'}, {"transB", 'i'}}},
    {"Identity", like_first, 1, {}},
    {"LayerNormalization", of_layer_normalization, 3, {{"axis", 'i'}, {"epsilon", 'f'}}},
    {"LeakyRelu", like_first, 1, {{"alpha", 'f'}}},
    {"Log", like_first, 1, {}},
    {"MatMul", of_matmul, 2, {}},
    {"Max", of_many, 64, {}},
    {"Min", of_many, 64, {}},
    {"Mul", of_two, 2, {}},
    {"QuantizeLinear", of_quantized, 3, {{"axis", 'i'}}},
    {"Relu", like_first, 1, {}},
    {"Selu", like_first, 1, {{"alpha", 'f'}, {"gamma", 'f'}}},
    {"Sigmoid", like_first, 1, {}},
    {"Softmax", of_softmax, 1, {{"axis", 'i'}}},
    {"Softplus", like_first, 1, {}},
    {"Sub", of_two, 2, {}},
    {"Tanh", like_first, 1, {}},
};

const Operator* find_operator(Bytes name) {
    const auto is_it = [&](const Operator& o) { return name == o.name; };
    const auto found = std::find_if(std::begin(kOperators), std::end(kOperators), is_it);
    return found == std::end(kOperators) ? nullptr : found;
}

Dims infer(Call& call) {
    const Operator& op = *find_operator(call.node.op_type);
    for (const Attribute& attribute : call.node.attributes) {
        const char kind = attribute.is_integer ? 'i' : 'f';
        const bool known =
            std::any_of(std::begin(op.attributes), std::end(op.attributes), [&](const auto& a) {
                return a.first != nullptr && attribute.name == a.first && kind == a.second;
            });
        if (!known) {
            call.refuse("has the attribute " + quoted(attribute.name) + " of kind '" + kind +
                        "', which is not its");
        }
    }
    if (call.node.inputs.size() > op.most_inputs) {
        call.refuse("has " + std::to_string(call.node.inputs.size()) +
                    " inputs, more than it takes");
    }
    return op.rule(call);
}

bool depends_on_cells(const Dims& dims) {
    return !dims.empty() && dims[0] == kCells;
}

/// The values that the results of a graph may hold, and the multiplications they may cost: for each
/// cell, and for all cells.
class Budget {
  public:
    Budget(const Graph& graph, const Interface& interface) {
        std::int64_t n_weights = 0;
        for (const Tensor& tensor : graph.initializers)
            n_weights += static_cast<std::int64_t>(size_of(tensor.dims));
        std::int64_t widest = std::max({kModestWidth, interface.n_genes, interface.n_combinations});
        for (const auto& [name, width] : interface.inputs)
            widest = std::max(widest, width);
        const std::int64_t n_values = std::min(kMaxResults * widest, kMaxValues);
        allowed_[0] = values_[0] = n_values;
        allowed_[1] = values_[1] = n_values + n_weights;
        products_[0] = products_[1] = kMaxResults * widest + 4 * n_weights;
    }

    void spend(const Call& call, const Dims& shape) {
        const int kind = depends_on_cells(shape) ? 0 : 1;
        const std::string whose = kind == 0 ? "for each cell" : "for all cells";
        std::int64_t size = 1;
        for (const std::int64_t n : shape)
            size *= std::abs(n);
        values_[kind] -= size;
        products_[kind] -= call.n_products;
        if (values_[kind] < 0) {
            call.refuse("gives a result of the shape " + shown(shape) +
                        ", which brings the graph above the " + std::to_string(allowed_[kind]) +
                        " values that it may compute " + whose);
        }
        if (products_[kind] < 0) {
            call.refuse("needs " + std::to_string(call.n_products) + " multiplications " + whose +
                        ", out of proportion to the weights");
        }
    }

  private:
    std::int64_t values_[2], products_[2], allowed_[2];
};

/// Whether a declared shape contradicts the computed one in no axis.
bool agree(const Dims& known, const std::vector<Axis>& declared) {
    if (known.size() != declared.size()) return false;
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (declared[i].length && *declared[i].length != known[i]) return false;
    }
    return true;
}

std::string declared_text(const std::vector<Axis>& declared) {
    std::string text = "[";
    for (std::size_t i = 0; i < std::min<std::size_t>(declared.size(), 9); ++i) {
        text += i > 0 ? ", " : "";
        text += declared[i].length ? std::to_string(*declared[i].length) : quoted(declared[i].name);
    }
    return text + "]";
}

}  // namespace

bool is_known_operator(Bytes op_type) {
    return find_operator(op_type) != nullptr;
}

std::string known_operators() {
    std::string names;
    for (const Operator& op : kOperators)
        names += (names.empty() ? "" : ", ") + std::string(op.name);
    return names;
}

Shapes check_shapes(const Graph& graph, const Interface& interface) {
    Shapes shapes;
    for (const auto& [name, width] : interface.inputs)
        shapes[name] = {kCells, width};
    for (const Tensor& tensor : graph.initializers) {
        if (tensor.name.empty() || !shapes.emplace(tensor.name, tensor.dims).second) {
            refuse("graph.initializer " + quoted(tensor.name) + ": the name is empty or taken.");
        }
    }
    Budget budget(graph, interface);
    for (const Node& node : graph.nodes) {
        Call call{node, shapes};
        if (node.outputs.size() != 1)
            call.refuse("has " + std::to_string(node.outputs.size()) + " outputs, expected 1");
        const Dims shape = infer(call);
        const std::string& name = node.outputs[0];
        if (name.empty() || shapes.contains(name)) {
            call.refuse("gives its result the name " + quoted(name) + ", which is empty or taken");
        }
        if (shape.size() > kMaxAxes || (shape.size() == 2 && shape[1] == kCells)) {
            call.refuse("gives a result of the shape " + shown(shape) +
                        ": cells are the first axis of 2");
        }
        budget.spend(call, shape);
        shapes[name] = shape;
    }
    for (const Value& output : graph.outputs) {
        const auto found = shapes.find(output.name);
        const bool one = output.shape && !output.shape->empty() && (*output.shape)[0].length == 1;
        const Dims expected{one ? 1 : kCells, interface.n_genes};
        if (found == shapes.end() || found->second != expected) {
            refuse("graph.output " + quoted(output.name) + ": declared as " + shown(expected) +
                   ", and the graph computes " +
                   (found == shapes.end() ? "no such value" : shown(found->second)) + ".");
        }
    }
    for (const Value& value : graph.value_info) {
        const auto found = shapes.find(value.name);
        if (found != shapes.end() && value.shape && !agree(found->second, *value.shape)) {
            refuse("graph.value_info " + quoted(value.name) + ": declared as " +
                   declared_text(*value.shape) + ", and the graph computes " +
                   shown(found->second) + ".");
        }
    }
    return shapes;
}

}  // namespace vaexprs::onnx
