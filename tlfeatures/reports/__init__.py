"""Reports: the HTML page of a benchmark, figures, and diagnostics as arrays.

In: a benchmark, and the embeddings file that it was computed from. Out: arrays, figures and one
HTML file.
"""
