"""Arithmetic that knows nothing of single cells: neighbours, scaling, SVD, rows in blocks."""
