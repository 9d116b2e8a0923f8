"""Label transfer by anchors as in Seurat, in any cell embedding, with calibrated sets."""
