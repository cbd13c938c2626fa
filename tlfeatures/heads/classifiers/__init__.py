"""Classifiers that scikit-learn lacks, or has without probabilities: one in each file.

In: the columns of an embedding and class names. Out: scikit-learn classifiers with probabilities.
"""
