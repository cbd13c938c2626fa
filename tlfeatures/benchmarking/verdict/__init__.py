"""The verdict: what the scores of a benchmark say, in sentences.

Each module has the sentences of one question, and `write` puts them in order.

In: a `Comparison` without a verdict, and the scorer of the tested images.
Out: a list of sentences.
"""
