"""Cell types of clusters by lists of marker genes, without a reference."""
