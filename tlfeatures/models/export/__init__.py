"""A model as one ONNX graph, from pixels to probabilities.

In: a model and the weights of its backbone.
Out: an ONNX file, and how far its probabilities differ from the model's.
"""
