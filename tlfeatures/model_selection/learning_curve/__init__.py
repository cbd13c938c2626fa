"""Learning curves: accuracy for fewer and more images, and whether more images would help.

In: an embeddings file and labels, or a dataset, and a head. Out: points, forecasts and a
verdict. `measure.py` explains the method and has the function to call.
"""
