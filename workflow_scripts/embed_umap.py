"""embed_umap: two-dimensional layout of the neighbour graph."""

import numpy as np
import pandas as pd


def umap_table(cells: pd.Index, layout: np.ndarray) -> pd.DataFrame:
    """umap.tsv.gz."""
    return pd.DataFrame({"cell": cells, "umap1": layout[:, 0], "umap2": layout[:, 1]})


if __name__ == "__main__":
    import anndata as ad
    from dice_atlas.cells import require_same_cells
    from dice_atlas.clustering.graph import embedding_of
    from dice_atlas.clustering.umap import embed_umap
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        graph = ad.read_h5ad(snakemake.input.graph)
        data = ad.read_h5ad(snakemake.input.embedding)
        name = snakemake.params.embedding
        pair = f"{snakemake.input.graph} and {snakemake.input.embedding}"
        require_same_cells(graph.obs_names, data.obs_names, pair)
        layout = embed_umap(graph, embedding_of(data, name), name, snakemake.params.seed)
        write_table(umap_table(graph.obs_names, layout), snakemake.output.umap)
