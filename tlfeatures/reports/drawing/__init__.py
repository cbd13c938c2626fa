"""Figures: each function draws one result on one set of axes.

In: results as arrays and dataclasses. Out: matplotlib axes, files, and SVG elements of a page.
"""
