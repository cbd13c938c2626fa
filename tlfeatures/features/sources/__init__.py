"""Where images come from: folders, URLs, tables and archives, and the labels that they state.

In: the path or URL of a source (`open_source.py`), ids of images.
Out: an `ImageRecord` for every image; labels and splits by ids; files read and written at
locations.
"""
