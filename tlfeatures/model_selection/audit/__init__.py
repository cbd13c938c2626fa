"""The audit of a dataset: probable label errors, copies in two classes or splits, and outliers.

Input: an embeddings file and labels, or a dataset. Output: findings, worst first. `audit.py`
explains the methods and has the function to call.
"""
