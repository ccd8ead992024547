"""ONNX models: LSTM nodes read, chained and written."""
