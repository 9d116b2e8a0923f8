"""cluster_query: clusters that an embedding is judged by, of the query alone and with reference."""

import anndata as ad
import numpy as np
from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.names import EMBEDDINGS
from dice_atlas.scoring.atlas import labelled_cells, query_cells, truth_of
from dice_atlas.scoring.partitions import judged_cells, partitions_of, partitions_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        data, key = ad.read_h5ad(given.embedding), EMBEDDINGS[snakemake.wildcards.embedding]
        cells = ad.read_h5ad(given.latents, backed="r").obs
        truth = truth_of(cells.index, given.truth, params.without)
        groups = query_cells(cells, truth), labelled_cells(cells)
        judged = judged_cells(*groups, params.sketch, params.seed)
        settings, sd = ClusterSettings.from_config(params.cluster), data.obsm.get(f"{key}_sd")
        found = partitions_of(np.asarray(data.obsm[key]), judged, settings, params.seed, sd)
        write_table(found.scan, made.resolutions)
        write_table(partitions_table(found, judged, cells.index), made.partitions)
        log.info("%s", found)
