"""The embeddings file: its format, reading, writing, creating, locking, and the sharded kind.

In: the images' ids and digests, a spec, and rows of embeddings. Out: one HDF5 file, or one with
shards beside it, and from an existing file its header and rows.
"""
