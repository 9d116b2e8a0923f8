"""score_benchmark: the query of one split in the embedding of each method, by one protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.benchmark.protocols import blind_scan, blind_scores, paper_scores, type_scores
from dice_atlas.errors import InputError
from dice_atlas.metrics.groups import mixing_scores
from dice_atlas.metrics.knn_accuracy import knn_accuracy
from dice_atlas.metrics.partition import partition_agreement
from dice_atlas.metrics.score import Score

KEYS = ("X_dice", "X_embedding")


def score(
    data: ad.AnnData, truth: pd.DataFrame, label: str, cluster: Mapping[str, Any], seed: int
) -> tuple[dict, pd.DataFrame]:
    """Protocol blind of one method: scores and curve.

    Parameters
    ----------
    data : an embedding of the query's cells, and of the reference's if the method has them.
    truth : `role`, `label` and `batch` of these cells.
    label : the type that the variant is about, "" = none.
    """
    embedding = embedding_of(data)
    query = (truth["role"] == "query").to_numpy()
    names = truth["label"].to_numpy(dtype=str)
    sd = np.asarray(data.obsm["X_dice_sd"])[query] if "X_dice_sd" in data.obsm else None
    scores, curve, clusters = blind_scores(embedding[query], names[query], cluster, seed, sd)
    if label and (names[query] == label).any():
        scores |= type_scores(embedding[query], names[query], clusters, label)
    if not query.all():
        scores |= knn_accuracy(embedding[~query], names[~query], embedding[query], names[query])
        scores |= mixing_scores(embedding, truth[["role", "batch"]])
    return scores, curve


def other_choices(
    data: ad.AnnData, truth: pd.DataFrame, cluster: Mapping[str, Any], seed: int, own: Score
) -> dict[str, Score]:
    """ARI at the resolution chosen without the posterior's spread, and with it.

    `own`, the ARI of protocol blind, is with the spread for DICE, which computes one for its
    users, and without it for the others. `ari_plain` is without it for all; `ari_spread` with it
    for PCA and the kernel mean too, whose posteriors have one. Neither depends on who has one.
    """
    query = (truth["role"] == "query").to_numpy()
    embedding, names = embedding_of(data)[query], truth["label"].to_numpy(dtype=str)[query]

    def ari(sd: np.ndarray | None = None) -> Score:
        return partition_agreement(names, blind_scan(embedding, cluster, seed, sd).chosen)["ari"]

    if "X_dice_sd" in data.obsm:
        return {"ari_plain": ari(), "ari_spread": own}
    if "X_embedding_sd" in data.obsm:
        sd = np.asarray(data.obsm["X_embedding_sd"])[query]
        return {"ari_plain": own, "ari_spread": ari(sd)}
    return {"ari_plain": own}


def embedding_of(data: ad.AnnData) -> np.ndarray:
    """Cells x p."""
    return np.asarray(next(data.obsm[key] for key in KEYS if key in data.obsm))


def long_table(method: str, scores: dict, n_cells: int) -> pd.DataFrame:
    rows = [(method, name, s.value, n_cells, s.note) for name, s in scores.items()]
    return pd.DataFrame(rows, columns=["method", "metric", "value", "n_cells", "note"])


if __name__ == "__main__":
    from dice_atlas.files import atomic_path, write_table
    from dice_atlas.logs import job_log
    from dice_atlas.tables import read_part

    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        truth = read_part(given.split, "obs")[["role", "batch", "label"]].astype(str)
        label = read_part(given.split, "uns/label")
        seed = int(snakemake.wildcards.seed)
        tables, curves, layouts = [], [], {}
        for method, path in zip(params.methods, given.embeddings, strict=True):
            data = ad.read_h5ad(path)
            if data.obs_names.difference(truth.index).size:
                raise InputError(f"{path} is of another split: remove {Path(path).parent}")
            own = truth.loc[data.obs_names]
            query = (own["role"] == "query").to_numpy()
            if params.protocol == "blind":
                scores, curve = score(data, own, label, params.cluster, seed)
                if snakemake.wildcards.variant == "base":
                    scores |= other_choices(data, own, params.cluster, seed, scores["ari"])
            else:
                names = own["label"].to_numpy(dtype=str)[query]
                scores, curve, layouts[method] = paper_scores(
                    embedding_of(data)[query], names, params.cluster, seed
                )
            tables.append(long_table(method, scores, int(query.sum())))
            curves.append(curve.assign(method=method))
            log.info("%s is done", method)
        if layouts:
            with atomic_path(snakemake.output.layouts) as path:
                np.savez(path, label=names, **layouts)
        key = {name: snakemake.wildcards[name] for name in ("set", "variant", "seed")}
        key["protocol"] = params.protocol
        for table, path in ((tables, snakemake.output.scores), (curves, snakemake.output.curves)):
            whole = pd.concat(table, ignore_index=True)
            for place, (name, value) in enumerate(key.items()):
                whole.insert(place, name, value)
            write_table(whole, path)
