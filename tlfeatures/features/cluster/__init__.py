"""The same loop on Dask's workers.

In: a plan and the address of a scheduler. Out: shards that workers write, and the embeddings file
that the client creates from them.
"""
