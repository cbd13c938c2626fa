"""Tables of images and labels, one module for each format.

In: a CSV, TSV, JSON, Parquet or Excel file (`read_table.py` chooses the format).
Out: a `Table`, whose rows have the path of an image and its label, group, split and box.
"""
