"""The audit of a dataset: probable label errors, copies in two classes or splits, and outliers.

In: an embeddings file and labels, or a dataset. Out: findings, worst first. `audit.py`
explains the methods and has the function to call.
"""
