"""The embeddings file: its format, reading and writing it, and files with their rows in shards.

In: ids and digests of images, a spec, and rows of values.
Out: one HDF5 file, with shards beside it if it is sharded; its header and its rows.
"""
