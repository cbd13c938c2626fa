"""Where images come from: folders and URLs, and the labels that folder names give.

In: the path or URL of a folder, ids of images.
Out: one `ImageFile` for each image; labels and splits of ids; read and written files at locations.
"""
