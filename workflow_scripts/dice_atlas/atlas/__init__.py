"""The final h5ad: its columns, its matrices, where it comes from."""
