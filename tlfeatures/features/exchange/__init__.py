"""Features files of other programs: NumPy, CSV, Parquet and HDF5 files with one row for an image.

In: a features file. Out: ids, labels, groups and splits of its rows, and blocks of their values.
Also the other way round: embeddings in, a features file out.
"""
