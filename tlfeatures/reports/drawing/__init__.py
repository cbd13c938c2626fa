"""Figures: each function draws one result on one set of axes; figures are saved as files or SVG.

In: results as arrays and dataclasses. Out: matplotlib axes, files, SVG elements of a page.
"""
