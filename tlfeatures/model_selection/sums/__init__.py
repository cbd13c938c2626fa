"""Heads that are sums over rows, fitted on the workers of a cluster that read their own shards.

In: a dataset whose rows stay in the shards of a sharded file, folds and heads.
Out: the results of each fold, and heads that are fitted on all rows. Sums, class codes, decisions
and coefficients pass between this process and the workers, but no row of the embedding does.
"""
