"""Clusters that fall apart: parts of them that have hardly a link to the rest."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.names import RESOLUTION
from dice_atlas.report.data import ReportData
from dice_atlas.report.disputes import LEAST_CELLS
from dice_atlas.report.finding import Finding, pick, plural
from dice_atlas.report.tables import percent

# An island has at most such a share of its links (their weights in the neighbour graph) to the rest
# of its cluster.
FEW_LINKS = 0.02


def part_links(graph: sp.csr_matrix, clusters: np.ndarray, parts: np.ndarray) -> pd.DataFrame:
    """Parts of the clusters, and how they are tied to the rest of their cluster.

    Parameters
    ----------
    graph : weights of the links, cells x cells, symmetric.
    clusters, parts : of each cell; a finer partition cuts each cluster into its parts.

    Returns
    -------
    DataFrame
        One row per cluster and part: `cells`, `of` (cells of the cluster), `share`: of the weight
        of the part's links within the cluster, those that lead out of the part.
    """
    each = pd.DataFrame({"cluster": clusters, "part": parts})
    codes = each.groupby(["cluster", "part"], sort=False).ngroup().to_numpy()
    names = each.drop_duplicates(ignore_index=True)
    links = graph.tocoo()
    inside = clusters[links.row] == clusters[links.col]
    start, end = codes[links.row[inside]], codes[links.col[inside]]
    weight = links.data[inside]
    total = np.bincount(start, weight, len(names))
    out = np.bincount(start, weight * (start != end), len(names))
    table = names.assign(cells=np.bincount(codes, minlength=len(names)))
    table["of"] = table["cluster"].map(pd.Series(clusters).value_counts())
    return table.assign(share=np.divide(out, total, out=np.ones_like(out), where=total > 0))


def islands(data: ReportData) -> Iterator[Finding]:
    """Parts of at most half a cluster with few links to the rest.

    Of each cluster they are told once: at the coarsest of the finer resolutions that has some.
    """
    if data.graph is None:
        return
    clusters = data.obs["cluster"].astype(str).to_numpy()
    chosen = data.resolutions.loc[data.resolutions["chosen"] == "True", "resolution"].max()
    levels = {
        float(str(name).removeprefix(RESOLUTION)): str(name)
        for name in data.obs if str(name).startswith(RESOLUTION)
    }  # fmt: skip
    told: set[str] = set()
    for level in sorted(level for level in levels if not level <= chosen):
        column, whole = levels[level], frozenset(told)
        parts = data.obs[column].astype(str).to_numpy()
        table = part_links(data.graph, clusters, parts)
        small = (table["cells"] >= LEAST_CELLS) & (table["cells"] <= table["of"] / 2)
        for row in table[small & (table["share"] <= FEW_LINKS)].itertuples():
            if row.cluster in whole:
                continue
            told.add(row.cluster)
            yield Finding(
                f"Cluster {row.cluster} falls apart: {row.cells:,} of its {plural(row.of, 'cell')} "
                f"have {percent(row.share, 0)} of their links to the rest.",
                "note",
                pick(**{"cluster": row.cluster, column: row.part}),
                f"Compare their genes. Resolution {level:g} parts them (cluster.choose).",
            )
