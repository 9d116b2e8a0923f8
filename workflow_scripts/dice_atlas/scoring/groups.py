"""The metrics that are reported together: of labels, clusters, mixing and label transfer."""

import numpy as np
import pandas as pd

from dice_atlas.clustering.resolution import reference_agreement
from dice_atlas.metrics.calibration import expected_calibration_error
from dice_atlas.metrics.classification import classification_scores
from dice_atlas.metrics.lisi import Surroundings, mean_lisi, mean_lisi_nearest
from dice_atlas.metrics.partition import partition_agreement
from dice_atlas.metrics.prediction_sets import prediction_set_scores
from dice_atlas.metrics.score import Score, noted, undefined
from dice_atlas.metrics.silhouette import mean_silhouette
from dice_atlas.numerics.neighbors import search_note
from dice_atlas.scoring.partitions import MIN_CLUSTERED, Partition


def label_scores(embedding: np.ndarray, labels: np.ndarray) -> dict[str, Score]:
    """How well labels hold together in an embedding."""
    near = Surroundings.of(embedding)
    return {
        "silhouette": mean_silhouette(embedding, labels),
        "clisi": mean_lisi(near, {"label": labels})["label"],
        "clisi_nn9": mean_lisi_nearest(near, labels),
    }


def cluster_scores(truth: np.ndarray, partition: Partition | None) -> dict[str, Score]:
    """Clusters of the query alone, resolution chosen without labels, against the truth.

    Parameters
    ----------
    truth : of these cells.
    partition : of these cells; None: they are too few.
    """
    if partition is None:
        names = ("n_clusters", "ari", "nmi", "nmi_max", "v_measure")
        why = f"{len(truth)} cells, fewer than {MIN_CLUSTERED}: not clustered"
        return dict.fromkeys(names, undefined(why))
    chosen_of = f"resolution {partition.resolution:g} of {partition.tried}"
    number = float(len(np.unique(partition.clusters.astype(str))))
    scores = {"n_clusters": Score(number, chosen_of)}
    scores |= partition_agreement(truth, partition.clusters)
    return noted(scores, search_note(len(truth)))


def reference_cluster_scores(
    partitions: pd.DataFrame, labels: np.ndarray, truth: np.ndarray
) -> dict[str, Score]:
    """Clusters of all cells, resolution by the reference's labels, against the query's truth.

    Parameters
    ----------
    partitions : cells x resolutions, reference and query; see `partitions.all_partitions`.
    labels : of the reference cells, "" for all others.
    truth : of the query cells, "" for all others.
    """
    agreement = reference_agreement(partitions, labels)
    if np.isnan(agreement).any():
        return {"ari_reference": undefined("the reference has fewer than two labels")}
    chosen = partitions.columns[int(agreement.argmax())]
    asked = truth != ""
    value = partition_agreement(truth[asked], partitions[chosen].to_numpy()[asked])["ari"].value
    return {"ari_reference": Score(value, f"resolution {chosen:g} of {partitions.shape[1]}")}


def mixing_scores(embedding: np.ndarray, obs: pd.DataFrame) -> dict[str, Score]:
    """How well roles and batches mix; up is better, 1 = not at all."""
    scores: dict[str, Score] = {}
    several = {}
    for column in ("role", "batch"):
        if obs[column].nunique() > 1:
            several[f"ilisi_{column}"] = obs[column].to_numpy()
        else:
            scores[f"ilisi_{column}"] = undefined(f"one {column} only")
    return (mean_lisi(Surroundings.of(embedding), several) if several else {}) | scores


def transfer_scores(
    truth: np.ndarray, calls: pd.DataFrame, reference_labels: np.ndarray
) -> dict[str, Score]:
    """Transferred labels, prediction sets and scores against the truth.

    Parameters
    ----------
    truth : labels of the cells of `calls`, none missing.
    calls : rows of calls.tsv.gz.
    reference_labels : the labels that the reference has at all.
    """
    known = np.isin(truth.astype(str), reference_labels.astype(str))
    absent = ", ".join(sorted(set(truth[~known])))
    note = f"{int((~known).sum())} cells have a truth that the reference lacks: {absent}"
    scores = classification_scores(truth, calls["cell_type"].to_numpy())
    scores |= {
        "accuracy_top": Score(
            float((truth == calls["predicted"]).mean()) if len(truth) else np.nan,
            "best label, below the threshold too",
        )
    }
    scores |= prediction_set_scores(truth, calls["prediction_set"].to_numpy())
    right = (calls["predicted"] == truth).to_numpy()
    scores["expected_calibration_error"] = expected_calibration_error(calls["score"], right)
    if not known.all():
        scores |= noted({n: s for n, s in scores.items() if ":" not in n}, note)
    some = classification_scores(truth[known], calls["cell_type"].to_numpy()[known])
    some |= prediction_set_scores(truth[known], calls["prediction_set"].to_numpy()[known])
    kept = ("accuracy", "balanced_accuracy", "macro_f1", "set_coverage")
    which = f"{int(known.sum())} cells whose truth the reference has"
    return scores | {f"{name}_known": Score(some[name].value, which) for name in kept}
