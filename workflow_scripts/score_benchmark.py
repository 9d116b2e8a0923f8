"""score_benchmark: the query of one split in the embedding of each method, by one protocol."""

import numpy as np
from dice_atlas.benchmark.scores import SplitTruth, score_methods
from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.files import atomic_path, write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        key = {name: snakemake.wildcards[name] for name in ("set", "variant", "seed")}
        embeddings = dict(zip(params.methods, given.embeddings, strict=True))
        cluster, truth = ClusterSettings.from_config(params.cluster), SplitTruth.read(given.split)
        scores, curves, layouts = score_methods(embeddings, truth, cluster, key, params.protocol)
        if layouts:
            with atomic_path(made.layouts) as path:
                np.savez(path, **layouts)
        write_table(scores, made.scores)
        write_table(curves, made.curves)
