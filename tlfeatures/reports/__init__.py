"""Results for people: the HTML page of a benchmark, plots, and diagnostics as arrays.

In: a benchmark, and the embeddings file that it was computed from. Out: arrays, figures, one HTML
file.
"""
