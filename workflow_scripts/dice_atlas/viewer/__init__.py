"""Data of the map in the report: which cells and genes, packed into the page."""
