#include "ending.hpp"

#include <algorithm>

namespace vaexprs::onnx {

std::optional<Ending> find_ending(const Graph& graph, const Interface& interface,
                                  const Shapes& shapes) {
    const auto uses_of = [&](const std::string& name) {
        std::ptrdiff_t n = 0;
        for (const Node& node : graph.nodes)
            n += std::count(node.inputs.begin(), node.inputs.end(), name);
        for (const Value& output : graph.outputs)
            n += output.name == name ? 1 : 0;
        return n;
    };
    const auto is_row = [&](const std::string& name) {
        return std::any_of(
            graph.initializers.begin(), graph.initializers.end(), [&](const auto& t) {
                return t.name == name && t.type == kFloat &&
                       (t.dims == Dims{interface.n_genes} || t.dims == Dims{1, interface.n_genes});
            });
    };
    /// Which node makes a value that nothing else uses, if it is such an operator.
    const auto maker = [&](const std::string& name, Bytes op_type) -> std::optional<std::size_t> {
        for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
            const Node& node = graph.nodes[i];
            if (node.outputs[0] != name) continue;
            const bool fits = op_type.empty() || node.op_type == op_type;
            if (!fits || uses_of(name) != 1 || shapes.at(name) != Dims{kCells, interface.n_genes})
                return {};
            return i;
        }
        return {};
    };
    const auto product = maker("mean", "Mul");
    if (!product) return {};
    const auto& factors = graph.nodes[*product].inputs;
    const bool first = factors[0] == "library";
    if (first == (factors[1] == "library")) return {};
    const auto softmax = maker(factors[first ? 1 : 0], "Softmax");
    if (!softmax) return {};
    const auto place = maker(graph.nodes[*softmax].inputs[0], "");
    if (!place) return {};
    Ending ending{{*product, *softmax}, *place, false, {}};
    const Node& node = graph.nodes[*place];
    if (node.op_type == "Gemm" && node.inputs.size() == 3 && node.attribute("beta") == nullptr) {
        if (!is_row(node.inputs[2])) return ending;
        ending.without_third = true;
        ending.bias = node.inputs[2];
    } else if (node.op_type == "Add") {
        for (const std::size_t k : {0u, 1u}) {
            const auto before = maker(node.inputs[k], "");
            if (!before || !is_row(node.inputs[1 - k])) continue;
            ending.left_out.insert(*place);
            ending.place = *before;
            ending.bias = node.inputs[1 - k];
            break;
        }
    }
    return ending;
}

}  // namespace vaexprs::onnx
