#include "checks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace vaexprs::onnx {

namespace {

constexpr std::size_t kMaxBytes = (std::size_t{1} << 31) - 1, kMaxNodes = 2000;

struct Versions {
    std::int64_t first, last;
};
constexpr Versions kOpsets{13, 21}, kIrVersions{7, 10};

void check_version(const char* what, std::int64_t version, const Versions& served) {
    if (version >= served.first && version <= served.last) return;
    const bool newer = version > served.last;
    refuse(std::string(what) + " is " + std::to_string(version) + ", " +
           (newer ? "newer" : "older") + " than this vaexprs serves (" +
           std::to_string(served.first) + " to " + std::to_string(served.last) +
           "): " + (newer ? "upgrade vaexprs." : "export it again."));
}

bool all_finite(Bytes raw) {
    // The exponent of what is not finite is all ones; a sum of such tests is quicker than a branch.
    std::uint32_t bad = 0;
    for (std::size_t i = 0; i + 4 <= raw.size(); i += 4) {
        std::uint32_t bits;
        std::memcpy(&bits, raw.data() + i, 4);
        bad |= (bits & 0x7F800000u) == 0x7F800000u ? 1u : 0u;
    }
    return bad == 0;
}

void check_tensor(const Tensor& tensor) {
    const std::string what = "graph.initializer " + quoted(tensor.name);
    if (tensor.is_external) {
        refuse(what +
               " has external data; an artifact holds everything itself. Export it again "
               "without external data.");
    }
    if (item_size(tensor.type) == 0)
        refuse(what + " has the data type " + type_name(tensor.type) + ", which is not served.");
    if (std::find(tensor.dims.begin(), tensor.dims.end(), 0) != tensor.dims.end())
        refuse(what + " has the dims " + shown(tensor.dims) + ": an axis of no length.");
    std::uint64_t expected = 0;
    const bool huge =
        __builtin_mul_overflow(size_of(tensor.dims), item_size(tensor.type), &expected);
    if (huge || tensor.n_bytes != expected) {
        refuse(what + " has dims " + shown(tensor.dims) + " of " + type_name(tensor.type) + ", " +
               (huge ? "too many" : std::to_string(expected)) + " bytes, and holds " +
               std::to_string(tensor.n_bytes) + ".");
    }
    if (tensor.type == kFloat && !all_finite(tensor.raw))
        refuse(what + " holds values that are not finite: training diverged?");
}

std::string names_of(const std::vector<std::string>& names) {
    std::string text = "[";
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 12); ++i)
        text += (i > 0 ? ", " : "") + quoted(names[i]);
    return text + "]";
}

std::string shape_text(const std::vector<Axis>& shape) {
    std::string text = "[";
    for (std::size_t i = 0; i < std::min<std::size_t>(shape.size(), 9); ++i) {
        text += i > 0 ? ", " : "";
        text += shape[i].length         ? std::to_string(*shape[i].length)
                : shape[i].name.empty() ? "None"
                                        : quoted(shape[i].name);
    }
    return text + "]";
}

void check_value(const Value& value, const std::string& side, std::int64_t width) {
    const std::string what = "graph." + side + " " + quoted(value.name);
    if (value.type != kFloat) {
        const std::string name = value.type == 0 ? "no tensor" : type_name(value.type);
        refuse(what + " is " + name + ", expected a tensor of float32.");
    }
    const bool gene_wise = side == "output" && value.name != "mean";
    const std::vector<Axis> shape = value.shape.value_or(std::vector<Axis>{});
    if (shape.size() != 2 || shape[1].length != width || (shape[0].length && !gene_wise)) {
        refuse(what + " has the shape " + shape_text(shape) + ", expected [n_cells, " +
               std::to_string(width) + "] with a dynamic first axis" +
               (gene_wise ? " or [1, " + std::to_string(width) + "]" : "") + ".");
    }
    if (shape[0].length && *shape[0].length != 1) {
        refuse(what + " has " + std::to_string(*shape[0].length) +
               " rows, expected n_cells (dynamic) or 1.");
    }
}

}  // namespace

Model checked_model(Bytes data) {
    if (data.empty()) refuse("the file is empty.");
    if (data.size() > kMaxBytes) {
        refuse(std::to_string(data.size()) + " bytes; an .onnx file has at most " +
               std::to_string(kMaxBytes) + ".");
    }
    Model model;
    try {
        model = read_model(data);
    } catch (const std::invalid_argument& error) {
        refuse(std::string("no ONNX model, or a damaged one: ") + error.what());
    }
    const auto is_ours = [](const auto& entry) { return entry.first.starts_with("vaexprs."); };
    if (std::none_of(model.metadata.begin(), model.metadata.end(), is_ours))
        refuse("an ONNX model without vaexprs metadata: it was not exported by vaexprs.");
    std::string domain;
    for (const auto& [name, version] : model.opsets)
        domain = domain.empty() ? name : domain;
    for (const Node& node : model.graph.nodes)
        domain = domain.empty() ? node.domain : domain;
    if (!domain.empty()) {
        refuse("operators of the domain " + quoted(domain) +
               ": only standard ONNX operators are served. A file written by a runtime's optimizer "
               "is no artifact: use the original.");
    }
    if (!model.opsets.contains(""))
        refuse("opset_import names no version of the standard operators.");
    check_version("opset_import", model.opsets[""], kOpsets);
    check_version("ir_version", model.ir_version, kIrVersions);
    if (model.graph.nodes.size() > kMaxNodes) {
        refuse("graph has " + std::to_string(model.graph.nodes.size()) + " nodes, more than " +
               std::to_string(kMaxNodes) + ".");
    }
    for (const Node& node : model.graph.nodes) {
        if (is_known_operator(node.op_type)) continue;
        const std::string first = node.outputs.empty() ? "" : node.outputs[0];
        refuse("graph.node " + quoted(node.name.empty() ? first : node.name) + " (" +
               std::string(Bytes(node.op_type).substr(0, 100)) +
               "): the operator is not one of those an artifact may use: " + known_operators() +
               ".");
    }
    for (const Tensor& tensor : model.graph.initializers)
        check_tensor(tensor);
    return model;
}

void check_interface(const Model& model, const Interface& interface) {
    const auto check = [&](const std::string& side, const std::vector<Value>& declared,
                           const std::vector<std::string>& expected, const auto& width_of) {
        std::vector<std::string> names;
        for (const Value& value : declared)
            names.push_back(value.name);
        if (names != expected) {
            refuse("graph." + side + ": expected " + names_of(expected) + " by the metadata, got " +
                   names_of(names) + ".");
        }
        for (std::size_t i = 0; i < declared.size(); ++i)
            check_value(declared[i], side, width_of(i));
    };
    std::vector<std::string> inputs;
    for (const auto& [name, width] : interface.inputs)
        inputs.push_back(name);
    check("input", model.graph.inputs, inputs,
          [&](std::size_t i) { return interface.inputs[i].second; });
    for (const Tensor& tensor : model.graph.initializers) {
        if (std::find(inputs.begin(), inputs.end(), tensor.name) != inputs.end())
            refuse("graph.input " + quoted(tensor.name) + " is also an initializer.");
    }
    check("output", model.graph.outputs, interface.outputs,
          [&](std::size_t) { return interface.n_genes; });
}

}  // namespace vaexprs::onnx
