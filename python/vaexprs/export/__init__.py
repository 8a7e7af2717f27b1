"""From numbers to an .onnx file, no torch: the graph, and weights of 8 bits."""
