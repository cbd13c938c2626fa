"""Datasets: embeddings with labels, groups, splits and near-duplicates.

In: an embeddings file or arrays, and labels from folders, a CSV file or Python objects.
Out: a `Dataset`.
"""
