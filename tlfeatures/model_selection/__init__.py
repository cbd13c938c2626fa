"""Folds, cross-validation, tuning, learning and training curves, and the audit of labels.

In: a dataset and heads. Out: scores by fold and out-of-fold predictions, and what follows from
them. `trainer.py` runs the work of many folds, on this machine or on workers of a cluster.
"""
