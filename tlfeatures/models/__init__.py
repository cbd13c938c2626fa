"""Models: fitted heads with the spec of their embedding, which label images.

In: a head and a dataset, or a model file; then image files or embeddings.
Out: labels, probabilities, outliers and scores; model files with model cards; ONNX files.
"""
