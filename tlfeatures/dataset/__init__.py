"""Datasets: embeddings with labels, groups, splits and near-duplicates.

In: an embeddings file or arrays, and labels from folders, a table or Python objects.
Out: a `Dataset`.
"""
