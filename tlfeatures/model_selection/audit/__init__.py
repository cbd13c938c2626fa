"""The audit of a dataset: probable label errors, contradicting or leaking copies, outliers.

In: an embeddings file and labels, or a dataset.
Out: findings, worst first; `audit.py` explains the methods and has the entry points.
"""
