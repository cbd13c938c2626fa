"""The folder that stores the results of a benchmark.

In: entries and their study. Out: the same, read from files and checked. `format.py` specifies
the files. `store.py` has the object that runs use; several runs may use a folder at the same time.
"""
