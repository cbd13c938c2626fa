"""Comparison of many heads on many embeddings with the same folds.

In: embeddings files, labels and names of heads. Out: entries with scores and predictions,
stored in a folder, and their ranking with intervals, tests and a verdict. `fit.py` also saves the
best head.
"""
