"""Extraction on the workers of a Dask scheduler, by the same loop as on one machine.

In: a plan, and the address of a scheduler. Out: shards, which workers write, and an embeddings file
that refers to them or holds their rows.
"""
