"""embed_umap: two-dimensional layout of the neighbour graph."""

import anndata as ad
from dice_atlas.clustering.graph import embedding_of
from dice_atlas.clustering.umap import embed_umap, umap_table
from dice_atlas.files import write_table
from dice_atlas.holdout import require_same_cells
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, name = snakemake.input, snakemake.params.embedding
        graph, data = ad.read_h5ad(given.graph), ad.read_h5ad(given.embedding)
        pair = f"{given.graph} and {given.embedding}"
        require_same_cells(graph.obs_names, data.obs_names, pair)
        limits = snakemake.params.exact_up_to, snakemake.params.sketch
        layout = embed_umap(graph, embedding_of(data, name), name, snakemake.params.seed, *limits)
        log.info("a map of %d cells", len(layout))
        write_table(umap_table(graph.obs_names, layout), snakemake.output.umap)
