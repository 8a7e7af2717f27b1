// The shape of everything a graph computes, inferred before any of it runs. The twin of
// vaexprs/artifact/onnx/operators.py and shapes.py, which say why.

#pragma once

#include <map>
#include <string>

#include "vaexprs/decoder.hpp"

#include "reader.hpp"

namespace vaexprs::onnx {

/// The length of the axis of cells, which is always the first.
inline constexpr std::int64_t kCells = -1;

using Shapes = std::map<std::string, Dims>;

/// Whether an artifact may use an operator.
bool is_known_operator(Bytes op_type);

/// The names of all operators, in order.
std::string known_operators();

/// The shape of every value of a graph; refuses graphs that no artifact may hold.
Shapes check_shapes(const Graph& graph, const Interface& interface);

}  // namespace vaexprs::onnx
