"""cluster_cells: neighbour graph and Leiden clusters in the embedding that config names."""

from typing import Any

import anndata as ad
import pandas as pd
from dice_atlas.clustering.graph import EMBEDDING_KEY, embedding_of
from dice_atlas.clustering.resolution import Scan, scan_embedding


def cluster(data: ad.AnnData, settings: dict[str, Any], seed: int) -> Scan:
    """Graph and clusters of all cells in the embedding `settings["embedding"]`."""
    name = settings["embedding"]
    key = EMBEDDING_KEY[name]
    embedding = embedding_of(data, name)
    sd = data.obsm.get(f"{key}_sd")
    scan = scan_embedding(embedding, settings, seed, sd, data.obs_names, key)
    scan.graph.uns["embedding"] = name
    return scan


def clusters_table(scan: Scan) -> pd.DataFrame:
    """clusters.tsv.gz: the chosen clusters, then those of every resolution."""
    columns = {f"leiden_{r:g}": scan.partitions[r].to_numpy() for r in scan.partitions}
    return pd.DataFrame({"cell": scan.graph.obs_names, "cluster": scan.chosen, **columns})


if __name__ == "__main__":
    from dice_atlas.files import atomic_path, write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        data = ad.read_h5ad(snakemake.input.embedding)
        scan = cluster(data, snakemake.params.cluster, snakemake.params.seed)
        log.info("\n%s", scan.table.to_string(index=False))
        # The embedding itself stays in its own file.
        scan.graph.obsm.clear()
        with atomic_path(snakemake.output.graph) as path:
            scan.graph.write_h5ad(path, compression="lzf")
        write_table(clusters_table(scan), snakemake.output.clusters)
        write_table(scan.table, snakemake.output.resolutions)
