"""The slow half: images to embeddings, without labels or heads.

In: a folder of images, and the settings of a frozen backbone.
Out: an embeddings file, or arrays of embeddings.
"""
