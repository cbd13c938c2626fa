"""Results and messages in a terminal: text, tables, CSV and JSON lines, progress bars, signals.

In: results of the library. Out: text, standard output and error, exit codes. Only this package
and `tlfeatures.cli` print and use click.
"""
