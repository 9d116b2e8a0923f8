"""How an embedding is scored: without the labels (blind), and as in the paper, with them.

`blind` is what a user gets: clusters of the embedding at a resolution chosen without labels, all
scores in the embedding. `paper` is how the authors' Table 2 was made: UMAP to two dimensions,
clusters and scores in the UMAP, the resolution of the best ARI against the labels. Its figures are
an upper bound.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from dice_atlas.clustering.graph import neighbor_graph
from dice_atlas.clustering.leiden import leiden_clusters
from dice_atlas.clustering.resolution import scan_to_judge
from dice_atlas.clustering.settings import FAST, ClusterSettings
from dice_atlas.clustering.umap import embed_umap
from dice_atlas.metrics.knn_accuracy import N_NEIGHBORS
from dice_atlas.metrics.partition import partition_agreement
from dice_atlas.metrics.score import Score
from dice_atlas.metrics.silhouette import mean_silhouette, silhouette_values
from dice_atlas.numerics.neighbors import Neighbors
from dice_atlas.scoring.groups import label_scores

# Of the authors' script.
PAPER_RESOLUTIONS = (*np.arange(1, 21) / 100, *np.arange(3, 21) / 10)


def blind_scores(
    embedding: np.ndarray,
    truth: np.ndarray,
    cluster: ClusterSettings,
    seed: int,
    sd: np.ndarray | None = None,
) -> tuple[dict[str, Score], pd.DataFrame, np.ndarray]:
    """Scores in the embedding (cells x p), curve over resolutions, chosen cluster of each cell.

    Parameters
    ----------
    truth : labels, one per cell.
    cluster : settings; Leiden is igraph's in any case.
    sd : posterior standard deviation of the embedding, where it has one.

    Returns
    -------
    scores : see `whole_scores`; `silhouette_centred` does not depend on the place of the origin.
    curve : see `agreement_curve`, with `stability`, `silhouette` and `chosen`.
    clusters : of each cell at the chosen resolution.
    """
    scan = scan_to_judge(embedding, cluster, seed, sd)
    curve = agreement_curve(scan.partitions, truth)
    curve = curve.merge(
        scan.table[["resolution", "stability", "silhouette", "chosen"]], on="resolution"
    )
    scores = whole_scores(embedding, truth, scan.chosen, curve)
    scores["silhouette_centred"] = mean_silhouette(embedding - embedding.mean(0), truth)
    return scores, curve, scan.chosen


def paper_scores(
    embedding: np.ndarray, truth: np.ndarray, cluster: ClusterSettings, seed: int
) -> tuple[dict[str, Score], pd.DataFrame, np.ndarray]:
    """Scores in the UMAP, curve over resolutions, UMAP (cells x 2); see `blind_scores`."""
    size = cluster.n_neighbors
    graph = neighbor_graph(embedding, size, seed, key="X")
    graph.uns["embedding"] = "X"
    layout = embed_umap(graph, embedding, "X", seed)
    plane = neighbor_graph(layout, size, seed)
    partitions = leiden_clusters(plane, PAPER_RESOLUTIONS, seed, FAST)
    curve = agreement_curve(partitions, truth)
    # Of equal ones the lowest resolution.
    best = curve.iloc[int(curve["ari"].to_numpy().argmax())]
    curve["chosen"] = curve["resolution"] == best["resolution"]
    clusters = partitions[best["resolution"]].to_numpy()
    return whole_scores(layout, truth, clusters, curve), curve, layout


def whole_scores(
    place: np.ndarray, truth: np.ndarray, clusters: np.ndarray, curve: pd.DataFrame
) -> dict[str, Score]:
    """Scores of the labels in an embedding or UMAP, and of the clusters chosen on its curve."""
    best = curve[curve["chosen"]].iloc[0]
    scores = label_scores(place, truth) | partition_agreement(truth, clusters)
    scores["n_clusters"] = Score(float(best["n_clusters"]), f"resolution {best['resolution']:g}")
    return scores


def agreement_curve(partitions: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """`resolution`, `n_clusters`, `ari` and `nmi_max` of each partition (columns) against truth."""
    rows = []
    for resolution in partitions:
        agreement = partition_agreement(truth, partitions[resolution].to_numpy())
        n_clusters = partitions[resolution].nunique()
        rows.append((resolution, n_clusters, agreement["ari"].value, agreement["nmi_max"].value))
    return pd.DataFrame(rows, columns=["resolution", "n_clusters", "ari", "nmi_max"])


def type_scores(
    embedding: np.ndarray, truth: np.ndarray, clusters: np.ndarray, label: str
) -> dict[str, Score]:
    """How well one type stands out among the query's cells.

    Returns
    -------
    dict
        `type_silhouette`, mean over its cells; `type_f1` of the cluster nearest to it, F1 of a
        cluster C and a type T being 2 |C & T| / (|C| + |T|); `type_purity`, its share of its
        cells' nearest other cells.
    """
    own = truth == label
    silhouette = silhouette_values(embedding, truth)[own].mean()
    overlap = [
        2 * (own & (clusters == c)).sum() / (own.sum() + (clusters == c).sum())
        for c in np.unique(clusters)
    ]
    near, _ = Neighbors(embedding).nearest_others(min(N_NEIGHBORS, len(embedding) - 1))
    note = f"{label}, {int(own.sum())} cells"
    return {
        "type_silhouette": Score(float(silhouette), note),
        "type_f1": Score(float(max(overlap)), note),
        "type_purity": Score(float(own[near[own]].mean()), note),
    }


def novelty_scores(
    reference: np.ndarray, query: np.ndarray, own: np.ndarray, background: np.ndarray | None
) -> dict[str, Score]:
    """Whether cells of a type that the reference lacks can be told from the query's others.

    Parameters
    ----------
    reference, query : cells x p, the same embedding.
    own : the query's cells of the type (mask).
    background : `dice_background` of the query's cells, where the prior has one.

    Returns
    -------
    dict
        AUROC of the mean distance to the nearest reference cells, `type_auc_distance`, and of
        `dice_background`, `type_auc_background`.
    """
    if own.all():
        return {}
    _, distances = Neighbors(reference).nearest(query, min(N_NEIGHBORS, len(reference)))
    found = {"type_auc_distance": distances.mean(1)}
    if background is not None and np.isfinite(background).all():
        found["type_auc_background"] = background
    return {name: Score(float(roc_auc_score(own, value)), "") for name, value in found.items()}
