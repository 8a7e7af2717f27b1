// Refuses models that no artifact may be. The twin of vaexprs/artifact/model.py.

#pragma once

#include "shapes.hpp"

namespace vaexprs::onnx {

/// Reads a model from its bytes; refuses one that is no artifact, whatever its metadata.
Model checked_model(Bytes data);

/// Compares the declared inputs and outputs of a graph with the metadata's interface.
void check_interface(const Model& model, const Interface& interface);

}  // namespace vaexprs::onnx
