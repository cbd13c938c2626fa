"""Sources inside of one file: zip and tar archives, WebDataset's tars, Parquet files with images.

In: the path or URL of such a file. Out: records of its images, whose place is a container that
reads them where they are, without unpacking the file.
"""
