"""Scores, confidence intervals and significance tests.

In: arrays of class codes, predictions, probabilities and groups, or small dataclasses of them.
Out: numbers, and reasons in words where a number is not defined.
"""
