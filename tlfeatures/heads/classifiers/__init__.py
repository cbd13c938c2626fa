"""Classifiers that scikit-learn does not have, or has without probabilities: one in each file.

In: the columns of an embedding and class names as arrays. Out: scikit-learn classifiers with
labels and probabilities.
"""
