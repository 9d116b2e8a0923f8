"""Clusters that an embedding is judged by. No name of a label enters: new names, same clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dice_atlas.clustering.graph import neighbor_graph
from dice_atlas.clustering.leiden import leiden_clusters
from dice_atlas.clustering.resolution import scan_to_judge
from dice_atlas.clustering.settings import FAST, ClusterSettings
from dice_atlas.errors import InputError
from dice_atlas.names import RESOLUTION
from dice_atlas.numerics.sketch import drawn
from dice_atlas.tables import read_text_table

# Fewer cells make no graph worth clustering.
MIN_CLUSTERED = 20
SCAN = ("resolution", "n_clusters", "stability", "silhouette", "chosen")


class Judged(NamedTuple):
    """Positions of the cells that embeddings are judged on: of too many, so many are drawn.

    Attributes
    ----------
    query : query cells that have a truth.
    labelled : reference cells that have a label.
    every : all cells.
    both : of the first two; all cells where none had to be drawn.
    """

    query: np.ndarray
    labelled: np.ndarray
    every: np.ndarray
    both: np.ndarray


def judged_cells(query: np.ndarray, labelled: np.ndarray, most: int, seed: int) -> Judged:
    """Draw the cells.

    Parameters
    ----------
    query, labelled : which cells are such (masks).
    most : cells of a group; of more, so many are drawn.
    """
    groups = np.flatnonzero(query), np.flatnonzero(labelled), np.arange(len(query))
    of_query, of_labelled, every = (drawn(rows, most, seed) for rows in groups)
    # The reference chooses the resolution of clusters of both: of either some must be there.
    both = np.union1d(drawn(groups[0], most // 2, seed), drawn(groups[1], most // 2, seed))
    return Judged(of_query, of_labelled, every, every if len(every) == len(query) else both)


@dataclass(frozen=True)
class Partition:
    """Clusters of some cells at one resolution.

    Attributes
    ----------
    clusters : of each cell.
    resolution : the chosen one.
    tried : number of resolutions that it was chosen among.
    """

    clusters: np.ndarray
    resolution: float
    tried: int


@dataclass(frozen=True)
class Partitions:
    """Clusters of an embedding, for `scoring.groups`.

    Attributes
    ----------
    alone : of `Judged.query`, resolution chosen without labels; None: too few cells.
    both : of `Judged.both`, cells x resolutions; None where reference or query has no labels.
    scan : one row per resolution of `alone`: `SCAN`.
    """

    alone: Partition | None
    both: pd.DataFrame | None
    scan: pd.DataFrame

    def __str__(self) -> str:
        """For people."""
        if self.alone is None:
            return f"fewer than {MIN_CLUSTERED} query cells with a truth: not clustered"
        number = len(set(self.alone.clusters))
        return f"{number} clusters of the query alone, at resolution {self.alone.resolution:g}"


def query_partition(
    embedding: np.ndarray, cluster: ClusterSettings, seed: int, sd: np.ndarray | None = None
) -> tuple[Partition | None, pd.DataFrame]:
    """Clusters of these cells alone, resolution chosen without labels, and the resolutions.

    Parameters
    ----------
    embedding : cells x k.
    sd : its posterior standard deviation (cells x k), where it has one.
    """
    if len(embedding) < MIN_CLUSTERED:
        return None, pd.DataFrame(columns=list(SCAN))
    scan = scan_to_judge(embedding, cluster, seed, sd)
    chosen = scan.table[scan.table["chosen"]].iloc[0]
    found = Partition(scan.chosen, float(chosen["resolution"]), len(scan.table))
    return found, scan.table[list(SCAN)]


def all_partitions(embedding: np.ndarray, cluster: ClusterSettings, seed: int) -> pd.DataFrame:
    """Clusters of reference and query at every resolution; Leiden is igraph's in any case."""
    graph = neighbor_graph(embedding, cluster.n_neighbors, seed)
    return leiden_clusters(graph, sorted(cluster.resolutions), seed, FAST)


def partitions_of(
    embedding: np.ndarray,
    judged: Judged,
    cluster: ClusterSettings,
    seed: int,
    sd: np.ndarray | None = None,
) -> Partitions:
    """All clusters that an embedding of all cells (cells x k) is judged by.

    Parameters
    ----------
    sd : see `query_partition`; of all cells.
    """
    rows = judged.query
    alone, scan = query_partition(embedding[rows], cluster, seed, None if sd is None else sd[rows])
    both = None
    if len(rows) and len(judged.labelled):
        both = all_partitions(embedding[judged.both], cluster, seed)
    return Partitions(alone, both, scan)


def partitions_table(found: Partitions, judged: Judged, cells: pd.Index) -> pd.DataFrame:
    """partitions.tsv.gz: `cell`, `query` and, of both, a column per resolution; "" = not judged."""
    columns = {}
    if found.alone is not None:
        columns["query"] = found.alone.clusters, judged.query
    if found.both is not None:
        columns |= {f"{RESOLUTION}{r:g}": (found.both[r], judged.both) for r in found.both}
    table = pd.DataFrame({"cell": cells}).assign(**dict.fromkeys(columns, ""))
    for name, (clusters, rows) in columns.items():
        table.loc[rows, name] = np.asarray(clusters)
    return table


def read_partitions(
    tables: Sequence[str | Path], scans: Sequence[str | Path], cells: pd.Index
) -> dict[str, Partitions]:
    """Partitions of each embedding, from the files of `cluster_query`.

    Parameters
    ----------
    tables, scans : partitions.tsv.gz and resolutions.tsv in the folder of each embedding.
    cells : names of all cells, in order.

    Raises
    ------
    InputError
        A table is of other cells.
    """
    found = {}
    for path, scan_path in zip(tables, scans, strict=True):
        table, scan = read_text_table(path), pd.read_csv(scan_path, sep="\t")
        if table["cell"].tolist() != cells.tolist():
            raise InputError(f"{path} is of other cells than latents.h5ad: remove it, start again")
        alone = both = None
        if "query" in table:
            own = table["query"][table["query"] != ""].to_numpy(object)
            alone = Partition(own, float(scan["resolution"][scan["chosen"]].item()), len(scan))
        of_both = table.drop(columns=["cell", "query"], errors="ignore")
        if of_both.shape[1]:
            of_both.columns = [float(c.removeprefix(RESOLUTION)) for c in of_both]
            both = of_both[(of_both != "").all(axis=1)]
        found[Path(path).parent.name] = Partitions(alone, both, scan)
    return found
