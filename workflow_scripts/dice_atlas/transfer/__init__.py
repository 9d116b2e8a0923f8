"""Label transfer by anchors as in Seurat v4, in any cell embedding, with calibrated sets."""
