"""Backbones: the frozen networks, as records that need neither weights nor an engine to be read.

In: the name of a backbone, or a user's declaration and ONNX file, and the names of the embeddings
wanted. Out: its record (layers, shapes, preprocessing, licence), the widths of embeddings, and the
network's tensors with their hash.
"""
