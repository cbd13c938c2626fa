"""The classifiers that are fitted on embeddings, their parameters and how they are fitted.

In: the name of a head and parameters; embeddings and class names as arrays.
Out: scikit-learn classifiers with probabilities, fitted or not.
"""
