"""PyTorch and ONNX Runtime as second opinions on results and gradients."""
