"""Folds, cross-validation, tuning, learning and training curves, and the audit of labels.

In: a dataset and heads. Out: scores of each fold, out-of-fold predictions, and results that
are computed from them. `trainer.py` runs many folds, on this machine or on workers of a cluster.
"""
