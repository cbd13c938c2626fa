"""The slow half: images to embeddings. Nothing here knows about labels or heads.

In: the path or URL of a folder of images, and settings that decide what an embedding is.
Out: an embeddings file; or, for the images of another program, the rows of `embed.py`.
"""
