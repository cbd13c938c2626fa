"""The HTML page of a benchmark: its contents as plain data, its pictures and its file.

In: a benchmark and its analyses. Out: one HTML file that needs no other file and no network.
"""
