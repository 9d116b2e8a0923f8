"""The atlas as files for other tools: Seurat, CELLxGENE, readers of zarr."""
