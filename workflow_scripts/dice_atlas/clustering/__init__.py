"""Neighbour graph, Leiden clusters, the choice of their resolution, UMAP and marker genes."""
