"""From a trained model to two ONNX graphs, and a runtime over them that needs no torch."""
