"""The methods that the benchmark compares DICE with: one file per method, on plain arrays."""
