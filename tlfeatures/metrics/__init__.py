"""Scores, confidence intervals and significance tests.

Input: arrays of class codes, predictions, probabilities and groups, or small dataclasses of them.
Output: numbers, and an explanation in words where a number is not defined.
"""
