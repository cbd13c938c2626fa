"""A model as one ONNX file: its backbone and its head in one graph."""
