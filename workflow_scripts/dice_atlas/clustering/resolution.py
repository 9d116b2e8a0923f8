"""Leiden at several resolutions, and the choice of one, with or without the reference's labels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from dice_atlas.clustering.graph import embedding_of, neighbor_graph
from dice_atlas.clustering.leiden import leiden_clusters
from dice_atlas.clustering.settings import FAST, ClusterSettings, leiden_package
from dice_atlas.errors import InputError
from dice_atlas.metrics.silhouette import mean_silhouette
from dice_atlas.names import EMBEDDINGS, RESOLUTION

logger = logging.getLogger(__name__)

N_SUBSAMPLES = 5
SHARE = 0.8
MAX_SUBSAMPLE = 5_000
# A resolution counts as stable within this of the best one's stability ...
TOLERANCE = 0.1
# ... and if nothing reaches this, one cluster is a better answer than several arbitrary ones.
MIN_STABILITY = 0.5


@dataclass(frozen=True)
class Scan:
    """Clusters at every resolution.

    partitions: cells x resolutions (strings, columns = resolutions); table: one row per
    resolution with `resolution`, `n_clusters`, `stability`, `silhouette`, `reference_ari` (missing
    without labels), `chosen`.
    """

    graph: ad.AnnData
    partitions: pd.DataFrame
    table: pd.DataFrame

    @property
    def chosen(self) -> np.ndarray:
        """Cluster of every cell at the chosen resolution."""
        return self.partitions[self.table["resolution"][self.table["chosen"]].item()].to_numpy()

    @property
    def summary(self) -> tuple[int, str]:
        """Number of clusters at the chosen resolution, and this resolution."""
        row = self.table[self.table["chosen"]].iloc[0]
        return int(row["n_clusters"]), str(row["resolution"])


def scan_embedding(
    embedding: np.ndarray,
    settings: ClusterSettings,
    seed: int,
    sd: np.ndarray | None = None,
    cells: Sequence[str] | None = None,
    key: str = "X",
    labels: np.ndarray | None = None,
) -> Scan:
    """Neighbour graph of an embedding (cells x k), and `scan_resolutions` on it.

    Parameters
    ----------
    sd, cells, key, labels : see `scan_resolutions` and `neighbor_graph`.
    """
    graph = neighbor_graph(embedding, settings.n_neighbors, seed, cells, key, settings.exact_up_to)
    return scan_resolutions(graph, key, settings, seed, sd, labels)


def scan_to_judge(
    embedding: np.ndarray, settings: ClusterSettings, seed: int, sd: np.ndarray | None = None
) -> Scan:
    """The scan that an embedding (cells x k) is judged by: no label chooses, Leiden is igraph's.

    Parameters
    ----------
    sd : see `scan_resolutions`.
    """
    return scan_embedding(embedding, replace(settings, flavor=FAST, choose="stability"), seed, sd)


def scan_resolutions(
    graph: ad.AnnData, key: str, settings: ClusterSettings, seed: int,
    sd: np.ndarray | None = None, labels: np.ndarray | None = None,
) -> Scan:  # fmt: skip
    """Cluster at each resolution, measure stability and silhouette, choose one.

    The choice is that of `settings.choose`: see `choose_by_reference` and `choose_by_stability`.
    Without labels of two types or more, the reference chooses nothing and stability does.

    Parameters
    ----------
    graph : see `neighbor_graph`.
    key : obsm key of the embedding (cells x k) that the graph was made of.
    sd : posterior standard deviation of the embedding (cells x k), where it has one.
    labels : of the reference cells, "" for all others; None: there are none.
    """
    asked = [settings.choose] if isinstance(settings.choose, (int, float)) else []
    resolutions = sorted({*settings.resolutions, *asked})
    package = leiden_package(settings.flavor, graph.n_obs)
    embedding = np.asarray(graph.obsm[key])
    partitions = leiden_clusters(graph, resolutions, seed, package)
    known = partitions if package == FAST else None
    stability = subsample_stability(graph, key, resolutions, settings.n_neighbors, seed, sd, known)
    silhouette = [mean_silhouette(embedding, partitions[r]).value for r in resolutions]
    table = pd.DataFrame(
        {
            "resolution": resolutions,
            "n_clusters": [partitions[r].nunique() for r in resolutions],
            "stability": stability,
            "silhouette": silhouette,
            "reference_ari": reference_agreement(partitions, labels),
        }
    )
    if asked:
        row = resolutions.index(asked[0])
    elif settings.choose != "stability" and table["reference_ari"].notna().all():
        row = choose_by_reference(table)
    else:
        row = choose_by_stability(table)
    table["chosen"] = table.index == row
    return Scan(graph, partitions, table)


def subsample_stability(
    graph: ad.AnnData, key: str, resolutions: Sequence[float], n_neighbors: int, seed: int,
    sd: np.ndarray | None = None, partitions: pd.DataFrame | None = None,
) -> np.ndarray:  # fmt: skip
    """Mean ARI between the clusters and those found again on subsamples with another seed.

    Leiden is igraph's: the 55 runs of the default settings took 50 CPU seconds with leidenalg, of
    5,000 cells.

    Where the embedding is a posterior mean with a standard deviation, every subsample takes each
    cell at a draw from its posterior instead. The mean alone is shrunk towards the modes of
    the prior; clusters that the data do not support are stable in it, but not in the draws.

    Each of `N_SUBSAMPLES` subsamples has `SHARE` of the cells and a graph of its own. Above
    `MAX_SUBSAMPLE / SHARE` cells that many are drawn first and clustered, and the subsamples are
    drawn from and compared with those: the number of clusters that a resolution gives depends on
    the number of cells, so a small subsample of all cells would look unstable for that alone.

    Parameters
    ----------
    graph, key, resolutions, sd : see `scan_resolutions`.
    n_neighbors : of the graphs of the subsamples.
    partitions : igraph's clusters of `graph`, where they are known (cells x resolutions).

    Returns
    -------
    ndarray
        One value per resolution, 1 = every subsample gives the same clusters.
    """
    rng = np.random.default_rng([seed, 1])
    embedding, most = np.asarray(graph.obsm[key]), int(MAX_SUBSAMPLE / SHARE)
    if len(embedding) > most:
        rows = np.sort(rng.choice(len(embedding), most, replace=False))
        embedding, sd = embedding[rows], None if sd is None else sd[rows]
        graph, partitions = neighbor_graph(embedding, n_neighbors, seed), None
    if partitions is None:
        partitions = leiden_clusters(graph, resolutions, seed, FAST)
    size = max(3, round(SHARE * len(embedding)))
    agreement = np.zeros((N_SUBSAMPLES, len(resolutions)))
    for repeat in range(N_SUBSAMPLES):
        rows = np.sort(rng.choice(len(embedding), size, replace=False))
        other_seed = seed + 1 + repeat
        points = embedding[rows]
        if sd is not None:
            points = points + sd[rows] * rng.standard_normal(points.shape, dtype=np.float32)
        own = neighbor_graph(points, n_neighbors, other_seed)
        again = leiden_clusters(own, resolutions, other_seed, FAST)
        agreement[repeat] = [
            adjusted_rand_score(partitions[r].to_numpy()[rows], again[r]) for r in resolutions
        ]
    return agreement.mean(axis=0)


def reference_agreement(partitions: pd.DataFrame, labels: np.ndarray | None) -> np.ndarray:
    """ARI of each partition with the labels, on labelled cells; missing with fewer than two labels.

    Parameters
    ----------
    partitions : cells x resolutions.
    labels : one per cell, "" = none; None: none at all.
    """
    known = np.zeros(len(partitions), dtype=bool) if labels is None else labels != ""
    if labels is None or len(set(labels[known])) < 2:
        return np.full(partitions.shape[1], np.nan)
    return np.array(
        [adjusted_rand_score(labels[known], partitions[r].to_numpy()[known]) for r in partitions]
    )


def choose_by_reference(table: pd.DataFrame) -> int:
    """Row of the resolution whose clusters agree best with the reference's labels.

    Of equal ones the coarsest.

    Parameters
    ----------
    table : `resolution` (ascending), `reference_ari`.
    """
    return int(table["reference_ari"].to_numpy().argmax())


def choose_by_stability(table: pd.DataFrame) -> int:
    """Row of the resolution that is chosen without labels.

    Among the resolutions with two clusters or more whose stability is within `TOLERANCE` of the
    best, the one whose clusters are best separated (silhouette; of equal ones the coarsest). One
    cluster is chosen only where no resolution gives more, or where none that does is stable
    (`MIN_STABILITY`).

    Parameters
    ----------
    table : `resolution` (ascending), `n_clusters`, `stability`, `silhouette`.
    """
    several = table[table["n_clusters"] >= 2]
    single = table[table["n_clusters"] < 2]
    if several.empty:
        logger.warning(
            "one cluster at all resolutions; config key cluster.resolutions can go higher"
        )
        return int(single.index[0])
    best = several["stability"].max()
    if best < MIN_STABILITY:
        logger.warning(
            "no resolution gives stable clusters (mean ARI of subsamples at most %.2f): the cells "
            "may form a continuum", best
        )  # fmt: skip
        if not single.empty:
            return int(single.index[0])
    stable = several.loc[several["stability"] >= best - TOLERANCE, "silhouette"]
    # None is known where every cell is a cluster of its own.
    return int(stable.fillna(-np.inf).idxmax())


def labels_of_reference(cells: pd.DataFrame) -> np.ndarray:
    """Labels of the reference cells, "" for the others.

    Parameters
    ----------
    cells : `role`, and `label` where cells have one.
    """
    if "label" not in cells:
        return np.full(len(cells), "", dtype=object)
    own = cells["label"].astype(str).to_numpy(dtype=object)
    return np.where(cells["role"] == "reference", own, "")


def cluster(data: ad.AnnData, settings: ClusterSettings, seed: int) -> Scan:
    """Graph and clusters of all cells in the embedding that the settings name.

    Parameters
    ----------
    data : obsm with the embedding and, of a posterior mean, `<its key>_sd`.
    seed : of Leiden, and of the subsamples.

    Raises
    ------
    InputError
        The embedding is not there, has fewer than three cells, or is not finite; or the reference
        is to choose the resolution and has fewer than two labels.
    """
    name = settings.embedding
    key = EMBEDDINGS[name]
    embedding = embedding_of(data, name)
    sd = data.obsm.get(f"{key}_sd")
    labels = labels_of_reference(data.obs)
    found = sorted(set(labels) - {""})
    if settings.choose == "reference" and len(found) < 2:
        seen = f"one label alone, {found[0]}" if found else "no labelled reference cell"
        raise InputError(
            f"cluster.choose: seen reference, but the cells have {seen}; expected two labels or "
            "more: set it to stability, or to a resolution"
        )
    scan = scan_embedding(embedding, settings, seed, sd, data.obs_names, key, labels)
    scan.graph.uns["embedding"] = name
    return scan


def clusters_table(scan: Scan) -> pd.DataFrame:
    """clusters.tsv.gz: the chosen clusters, then those of every resolution."""
    columns = {f"{RESOLUTION}{r:g}": scan.partitions[r].to_numpy() for r in scan.partitions}
    return pd.DataFrame({"cell": scan.graph.obs_names, "cluster": scan.chosen, **columns})
