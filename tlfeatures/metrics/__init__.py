"""Scores, confidence intervals and significance tests.

In: arrays of class codes, predictions, probabilities and groups, or small dataclasses of them.
Out: numbers, and an explanation in words where a number is not defined.
"""
