"""Genes, normalisation, scaling, batch correction and loadings: the space that DICE works in."""
