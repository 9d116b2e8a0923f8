"""score_metrics: embeddings, clusters and transferred labels against the truth (protocol blind)."""

import anndata as ad
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.scoring.atlas import (
    confusion_table,
    gather_cells,
    marker_calls,
    metrics_table,
    truth_of,
)
from dice_atlas.scoring.partitions import read_partitions
from dice_atlas.tables import read_by_voter, read_text_table
from dice_atlas.transfer.levels import Levels

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        latents, clusters = ad.read_h5ad(given.latents), read_text_table(given.clusters)
        levels = Levels.read(given.levels)
        truth = levels.renamed(truth_of(latents.obs_names, given.truth))
        latents.obs["label"] = levels.renamed(latents.obs["label"])
        cells = gather_cells(latents, ad.read_h5ad(given.denoised), clusters, truth)
        log.info("%d query cells have a truth", int(cells.query.sum()))
        calls = read_by_voter(given.calls, "score", "entropy", "n_anchors")
        markers = marker_calls(given.markers)
        partitions = read_partitions(given.partitions, given.resolutions, latents.obs_names)
        judged = partitions, params.embedding, params.seed, params.sketch
        metrics = metrics_table(cells, calls, *judged, markers)
        log.info("\n%s", metrics.drop(columns="note").to_string(index=False))
        log.info("%d scores", len(metrics))
        write_table(metrics, made.metrics)
        write_table(confusion_table(cells, calls | markers), made.confusion)
