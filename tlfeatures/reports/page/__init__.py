"""The HTML page of a benchmark: what it shows (contents), pictures, and the file itself."""
