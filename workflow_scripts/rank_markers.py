"""rank_markers: genes that set each cluster apart from all other cells."""

import anndata as ad
from dice_atlas.clustering.markers import rank_markers
from dice_atlas.files import write_table
from dice_atlas.holdout import require_same_cells
from dice_atlas.logs import job_log
from dice_atlas.tables import read_text_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given = snakemake.input
        normalized, clusters = ad.read_h5ad(given.normalized), read_text_table(given.clusters)
        pair = f"{given.clusters} and {given.normalized}"
        require_same_cells(clusters["cell"], normalized.obs_names, pair)
        markers = rank_markers(normalized, clusters["cluster"].to_numpy())
        log.info("markers of %d clusters", markers["cluster"].nunique())
        write_table(markers, snakemake.output.markers)
