"""Heads: the classifiers that are fitted on embeddings, and their parameters.

In: the name of a head and parameters; embeddings and class names as arrays. Out: scikit-learn
classifiers with probabilities, before or after their fit.
"""
