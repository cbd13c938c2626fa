"""Fits whose work grows in proportion to the number of rows, in blocks of rows.

In: rows of an embedding, read in blocks, and class codes as arrays. Out: linear coefficients, on
columns or on kernels with landmarks.
"""
