"""embed_synthetic: UMAP of held-out and synthetic cells together."""

import anndata as ad
from dice_atlas.clustering.umap import joint_umap, umap_table
from dice_atlas.files import write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        cells = ad.read_h5ad(snakemake.input.cells)
        layout = joint_umap(cells.obsm["X_pca"], snakemake.params.seed)
        write_table(umap_table(cells.obs_names, layout), snakemake.output.umap)
