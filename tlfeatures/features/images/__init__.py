"""From image files to pixels: read, identified by sha256, decoded, scaled and augmented.

In: paths, URLs or bytes of image files; the size in pixels, the range of values, the augmentation.
Out: uint8 RGB arrays of shape (height, width, 3), the sha256 of each file, or an `ImageError`.
"""
