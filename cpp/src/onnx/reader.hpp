// What an .onnx file says: its nodes, constants, inputs, outputs and metadata. The twin of
// vaexprs/artifact/onnx/reader.py.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "wire.hpp"

namespace vaexprs::onnx {

inline constexpr std::size_t kMaxAxes = 2;  ///< scalars, vectors and matrices
inline constexpr std::size_t kMaxMetadata = std::size_t{1} << 26;  ///< bytes of all of it

/// Numbers of the types of tensors that an artifact may hold.
enum Type : std::int64_t { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6 };

/// Bytes of a value of a type, 0 where it is none of those.
std::size_t item_size(std::int64_t type);
std::string type_name(std::int64_t type);

using Dims = std::vector<std::int64_t>;

/// The number of values of a shape, at most the largest number there is.
std::uint64_t size_of(const Dims& dims);
std::string shown(const Dims& dims);

struct Tensor {
    std::string name;
    Dims dims;
    std::int64_t type = 0;
    std::uint64_t n_bytes = 0;
    Bytes raw;                           ///< little-endian
    std::vector<std::int64_t> integers;  ///< where values are stored so
    bool is_external = false;
};

/// An attribute of a node: a float or an integer.
struct Attribute {
    std::string name;
    bool is_integer = false;
    std::int64_t integer = 0;
    float number = 0.0f;
};

struct Node {
    std::string name, op_type, domain;
    std::vector<std::string> inputs, outputs;
    std::vector<Attribute> attributes;

    const Attribute* attribute(Bytes name) const;
    bool has(std::size_t input) const { return input < inputs.size() && !inputs[input].empty(); }
};

/// An axis of a declared shape: its length, or a name, or neither.
struct Axis {
    std::optional<std::int64_t> length;
    std::string name;
};

/// A declared input, output or intermediate; `type` is 0 where it is no tensor.
struct Value {
    std::string name;
    std::int64_t type = 0;
    std::optional<std::vector<Axis>> shape;
};

struct Graph {
    std::vector<Node> nodes;
    std::vector<Tensor> initializers;
    std::vector<Value> inputs, outputs, value_info;
};

struct Model {
    std::int64_t ir_version = 0;
    std::map<std::string, std::int64_t> opsets;
    std::map<std::string, Bytes> metadata;
    Graph graph;
};

/// Reads a serialized ModelProto; views point into it.
Model read_model(Bytes data);

}  // namespace vaexprs::onnx
