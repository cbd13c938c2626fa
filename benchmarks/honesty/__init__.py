"""Simulations that show whether the printed numbers hold, one module for each table.

Run one with `python -m benchmarks.honesty NAME --draws N`; `honesty.md` has the tables.

In: embeddings files of real images, or simulated predictions whose truth is known.
Out: tables in Markdown.
"""
