"""Engines: the libraries that compute a backbone's forward pass.

In: a spec, the names of the embeddings wanted, and the backbone's weights. Out: a loaded backbone,
which takes uint8 images and gives float32 embeddings. No engine is imported before it is used.
"""
