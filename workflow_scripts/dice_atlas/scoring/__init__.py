"""Metrics of an atlas and of a split, in the groups in which they are reported."""
