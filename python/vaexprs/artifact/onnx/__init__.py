"""An ONNX file read from its bytes: protobuf fields, the model, operators and shapes."""
