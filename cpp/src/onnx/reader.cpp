#include "reader.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace vaexprs::onnx {

namespace {

// Field numbers: onnx/onnx.proto of the ONNX standard.
constexpr auto kInt = WireType::varint, kReal = WireType::fixed32, kView = WireType::length;
constexpr FieldRule kModel[] = {
    {1, "ir_version", kInt}, {2, "producer_name", kView},      {3, "producer_version", kView},
    {4, "domain", kView},    {5, "model_version", kInt},       {6, "doc_string", kView},
    {7, "graph", kView},     {8, "opset_import", kView, true}, {14, "metadata_props", kView, true}};
constexpr FieldRule kOpset[] = {{1, "domain", kView}, {2, "version", kInt}};
constexpr FieldRule kEntry[] = {{1, "key", kView}, {2, "value", kView}};
constexpr FieldRule kGraph[] = {{1, "node", kView, true},        {2, "name", kView},
                                {5, "initializer", kView, true}, {10, "doc_string", kView},
                                {11, "input", kView, true},      {12, "output", kView, true},
                                {13, "value_info", kView, true}};
constexpr FieldRule kNode[] = {
    {1, "input", kView, true}, {2, "output", kView, true},    {3, "name", kView},
    {4, "op_type", kView},     {5, "attribute", kView, true}, {6, "doc_string", kView},
    {7, "domain", kView}};
// No operator of the list takes a list, a text, a tensor or a graph as an attribute.
constexpr FieldRule kAttribute[] = {{1, "name", kView},
                                    {2, "f", kReal},
                                    {3, "i", kInt},
                                    {13, "doc_string", kView},
                                    {20, "type", kInt}};
constexpr FieldRule kTensor[] = {{1, "dims", kInt, true},    {2, "data_type", kInt},
                                 {4, "float_data", kView},   {5, "int32_data", kView},
                                 {8, "name", kView},         {9, "raw_data", kView},
                                 {12, "doc_string", kView},  {13, "external_data", kView, true},
                                 {14, "data_location", kInt}};
constexpr FieldRule kValue[] = {{1, "name", kView}, {2, "type", kView}, {3, "doc_string", kView}};
constexpr FieldRule kValueType[] = {{1, "tensor_type", kView}, {6, "denotation", kView}};
constexpr FieldRule kTensorType[] = {{1, "elem_type", kInt}, {2, "shape", kView}};
constexpr FieldRule kShape[] = {{1, "dim", kView, true}};
constexpr FieldRule kAxis[] = {
    {1, "dim_value", kInt}, {2, "dim_param", kView}, {3, "denotation", kView}};

/// The domain of operators; the standard one has two names.
std::string domain_of(const Message& message) {
    const Bytes domain = message.text("domain");
    return domain == "ai.onnx" ? "" : std::string(domain);
}

Attribute read_attribute(WireReader& wire, Bytes view, const std::string& what) {
    const Message attribute = wire.message(view, kAttribute, what);
    Attribute made{std::string(attribute.text("name"))};
    const std::int64_t type = attribute.integer("type");
    const bool f = attribute.has("f"), i = attribute.has("i");
    if (!((type == 1 && f && !i) || (type == 2 && i && !f))) {
        refuse(what + " (" + quoted(made.name) + ") has the type " + std::to_string(type) +
               " and stores " +
               (f && i ? "f, i"
                : f    ? "f"
                : i    ? "i"
                       : "nothing") +
               ", expected " +
               (type == 1   ? "f"
                : type == 2 ? "i"
                            : "a float or integer") +
               ".");
    }
    made.is_integer = i;
    made.integer = attribute.integer("i");
    if (f) {
        std::memcpy(&made.number, attribute["f"].bytes.data(), sizeof made.number);
        if (!std::isfinite(made.number))
            refuse(what + " (" + quoted(made.name) + ") is not finite.");
    }
    return made;
}

std::vector<std::string> texts(const Message& message, Bytes name) {
    std::vector<std::string> found;
    for (const Bytes text : message[name].all)
        found.emplace_back(checked_text(text, message.what() + "." + std::string(name)));
    return found;
}

Node read_node(WireReader& wire, Bytes view, const std::string& what) {
    const Message node = wire.message(view, kNode, what);
    Node made;
    for (const Bytes inner : node["attribute"].all) {
        const auto number = std::to_string(made.attributes.size());
        Attribute attribute = read_attribute(wire, inner, what + ".attribute[" + number + "]");
        if (made.attribute(attribute.name) != nullptr)
            refuse(what + " has the attribute " + quoted(attribute.name) + " twice.");
        made.attributes.push_back(std::move(attribute));
    }
    made.name = node.text("name");
    made.op_type = node.text("op_type");
    made.domain = domain_of(node);
    made.inputs = texts(node, "input");
    made.outputs = texts(node, "output");
    return made;
}

Tensor read_tensor(WireReader& wire, Bytes view, std::string what) {
    const Message tensor = wire.message(view, kTensor, what);
    Tensor made;
    made.name = tensor.text("name");
    what += " (" + quoted(made.name) + ")";
    made.dims = tensor["dims"].integers;
    const bool negative =
        std::any_of(made.dims.begin(), made.dims.end(), [](auto n) { return n < 0; });
    if (made.dims.size() > kMaxAxes || negative)
        refuse(what + " has dims " + shown(made.dims) + ": too many, or below 0.");
    made.type = tensor.integer("data_type");
    made.is_external = tensor.has("external_data") || tensor.integer("data_location") != 0;
    if (made.is_external) return made;
    std::string stores;
    int n_stores = 0;
    for (const char* store : {"float_data", "int32_data", "raw_data"}) {
        if (!tensor.has(store)) continue;
        stores += (n_stores++ > 0 ? " and " : "") + std::string(store);
    }
    if (n_stores > 1) refuse(what + " stores its values twice: " + stores + ".");
    if (n_stores == 0 || item_size(made.type) == 0) return made;
    const bool is_float = made.type == kFloat;
    if (stores != "raw_data" && is_float != (stores == "float_data")) {
        refuse(what + " is " + type_name(made.type) + " and stores its values as " + stores + ".");
    }
    if (stores == "int32_data") {
        made.integers = packed_integers(tensor[stores].bytes, what);
        made.n_bytes = item_size(made.type) * made.integers.size();
    } else {
        made.raw = tensor[stores].bytes;
        made.n_bytes = made.raw.size();
    }
    return made;
}

Value read_value(WireReader& wire, Bytes view, std::string what) {
    const Message value = wire.message(view, kValue, what);
    Value made;
    made.name = value.text("name");
    what += " (" + quoted(made.name) + ")";
    const Message kind = wire.message(value["type"].bytes, kValueType, what);
    const Message tensor = wire.message(kind["tensor_type"].bytes, kTensorType, what);
    made.type = tensor.integer("elem_type");
    if (!tensor.has("shape")) return made;
    made.shape.emplace();
    const Message shape = wire.message(tensor["shape"].bytes, kShape, what);
    for (const Bytes inner : shape["dim"].all) {
        const Message axis = wire.message(inner, kAxis, what);
        if (axis.has("dim_value") && axis.has("dim_param"))
            refuse(what + " has an axis with both a length and a name for it.");
        made.shape->push_back({{}, std::string(axis.text("dim_param"))});
        if (axis.has("dim_value")) made.shape->back().length = axis.integer("dim_value");
    }
    return made;
}

Graph read_graph(WireReader& wire, Bytes view) {
    const Message graph = wire.message(view, kGraph, "graph");
    const auto all = [&](const char* name, auto read, auto& to) {
        for (const Bytes inner : graph[name].all) {
            const auto number = std::to_string(to.size());
            to.push_back(read(wire, inner, "graph." + std::string(name) + "[" + number + "]"));
        }
    };
    Graph made;
    all("node", read_node, made.nodes);
    all("initializer", read_tensor, made.initializers);
    all("input", read_value, made.inputs);
    all("output", read_value, made.outputs);
    all("value_info", read_value, made.value_info);
    return made;
}

}  // namespace

std::size_t item_size(std::int64_t type) {
    return type == kFloat || type == kInt32 ? 4 : type == kUint8 || type == kInt8 ? 1 : 0;
}

std::string type_name(std::int64_t type) {
    constexpr const char* kNames[] = {"",      "float32", "uint8",  "int8", "uint16",  "int16",
                                      "int32", "int64",   "string", "bool", "float16", "float64"};
    if (type > 0 && type < 12) return kNames[type];
    return type == 16 ? "bfloat16" : "number " + std::to_string(type);
}

std::uint64_t size_of(const Dims& dims) {
    std::uint64_t size = 1;
    for (const std::int64_t n : dims) {
        if (__builtin_mul_overflow(size, static_cast<std::uint64_t>(n), &size))
            return std::numeric_limits<std::uint64_t>::max();
    }
    return size;
}

std::string shown(const Dims& dims) {
    std::string text = "[";
    for (std::size_t i = 0; i < std::min<std::size_t>(dims.size(), 9); ++i)
        text += (i > 0 ? ", " : "") + (dims[i] == -1 ? "n_cells" : std::to_string(dims[i]));
    return text + "]";
}

const Attribute* Node::attribute(Bytes wanted) const {
    const auto is_it = [&](const Attribute& a) { return a.name == wanted; };
    const auto found = std::find_if(attributes.begin(), attributes.end(), is_it);
    return found == attributes.end() ? nullptr : &*found;
}

Model read_model(Bytes data) {
    static_assert(std::endian::native == std::endian::little, "weights are little-endian");
    WireReader wire;
    Model made;
    std::size_t left = kMaxMetadata;
    for (Bytes view = data; !view.empty();) {
        // The first of two passes, which looks for metadata.
        const WireReader::Field field = wire.next(view, "the model");
        if (field.number != 14 || field.wire_type != 2) continue;
        const std::string what = "metadata_props[" + std::to_string(made.metadata.size()) + "]";
        const Message entry = wire.message(field.bytes, kEntry, what);
        const std::string key(entry.text("key"));
        if (made.metadata.contains(key)) refuse("metadata " + quoted(key) + " is there twice.");
        if (field.size > left) {
            refuse("the metadata have more than " + std::to_string(kMaxMetadata) + " bytes.");
        }
        left -= field.size;
        made.metadata[key] = entry.text("value", kMaxMetadata);
    }
    const Message model = wire.message(data, kModel, "the model");
    if (!model.has("graph")) refuse("the model has no graph.");
    for (const Bytes inner : model["opset_import"].all) {
        const Message entry = wire.message(inner, kOpset, "opset_import");
        const std::string domain = domain_of(entry);
        if (made.opsets.contains(domain))
            refuse("opset_import names the domain " + quoted(domain) + " twice.");
        made.opsets[domain] = entry.integer("version");
    }
    made.ir_version = model.integer("ir_version");
    made.graph = read_graph(wire, model["graph"].bytes);
    return made;
}

}  // namespace vaexprs::onnx
