// The end of a count decoder's graph, which the kernels of counts take along.

#pragma once

#include <optional>
#include <set>

#include "shapes.hpp"

namespace vaexprs::onnx {

/// mean = library * softmax(x), or of x plus a constant row: the nodes to leave out, the node that
/// gives x, and whether its third input (a bias) is left out too.
struct Ending {
    std::set<std::size_t> left_out;
    std::size_t place = 0;
    bool without_third = false;
    std::optional<std::string> bias;  ///< the name of the row
};

/// Finds it where a graph ends so. The twin of `lower` in vaexprs/artifact/lowering.py.
std::optional<Ending> find_ending(const Graph& graph, const Interface& interface,
                                  const Shapes& shapes);

}  // namespace vaexprs::onnx
