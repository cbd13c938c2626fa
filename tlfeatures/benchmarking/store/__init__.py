"""The folder that keeps the results of a benchmark.

In: entries and their study. Out: the same, read and checked; see `format.py` for the files.
`store.py` has the object that runs use; several runs may use one folder at the same time.
"""
