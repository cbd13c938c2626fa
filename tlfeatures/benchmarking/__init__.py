"""Comparison of many heads on many embeddings with the same folds.

Input: embeddings files, labels and names of heads. Output: entries with scores and predictions,
stored in a folder, and their ranking with intervals, tests and a verdict. `fit.py` also saves the
best head.
"""
