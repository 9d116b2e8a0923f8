"""cluster_cells: neighbour graph and Leiden clusters in the embedding that config names."""

import anndata as ad
from dice_atlas.clustering.resolution import cluster, clusters_table
from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        settings = ClusterSettings.from_config(snakemake.params.cluster)
        data = ad.read_h5ad(snakemake.input.embedding)
        scan = cluster(data, settings, snakemake.params.seed)
        log.info("\n%s", scan.table.to_string(index=False))
        log.info("%d clusters at resolution %s", *scan.summary)
        # The embedding itself stays in its own file.
        scan.graph.obsm.clear()
        write_h5ad(scan.graph, snakemake.output.graph, compression="lzf")
        write_table(clusters_table(scan), snakemake.output.clusters)
        write_table(scan.table, snakemake.output.resolutions)
