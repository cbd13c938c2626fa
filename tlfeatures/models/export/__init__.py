"""Export of a model as one ONNX graph, from pixels to probabilities.

In: a model and the weights of its backbone.
Out: an ONNX file, and the differences between its probabilities and the model's.
"""
