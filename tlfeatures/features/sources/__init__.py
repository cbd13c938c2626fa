"""Where images come from: folders and URLs, and the labels that folder names give.

In: the path or URL of a folder, ids of images.
Out: an `ImageFile` for every image; labels and splits by ids; files read and written at locations.
"""
