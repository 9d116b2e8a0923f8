"""Which type of a list of marker genes a cluster is called, or why none."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from dice_atlas.marker_lists.evidence import Evidence, distances_of, weigh
from dice_atlas.marker_lists.genes import found_genes, gene_table
from dice_atlas.marker_lists.lists import MarkerList
from dice_atlas.marker_lists.ranks import MOST_RANKS, Scored, common_genes, score_cells, weights_of
from dice_atlas.names import UNASSIGNED, joined

logger = logging.getLogger(__name__)

# Largest q value of a type that a cluster may be called.
LIMIT = 0.05
# Least strength of such a type: genes that stand half a standard deviation above their mean. Of a
# type that is called in place of a missing one it is mostly smaller (docs/annotation-benchmark.md).
LEAST = 0.5
# Why a cluster has no label.
NO_LIST = "no_marker_list_fits"
SEVERAL = "several_marker_lists_fit"
# Genes that carried a call, at the most.
MOST_CARRIED = 5
CALLED = ("cluster", "cells", "label", "rule", "types", "q", "carried_by")


@dataclass(frozen=True)
class Annotation:
    """What marker lists say of the cells and clusters of an atlas.

    Attributes
    ----------
    types : that could be scored.
    scores : cells x types (float32), UCell's.
    evidence : scores.tsv, one row per cluster and type.
    calls : calls.tsv, one row per cluster, the `CALLED`.
    genes : genes.tsv, one row per type and gene.
    """

    types: list[str]
    scores: np.ndarray
    evidence: pd.DataFrame
    calls: pd.DataFrame
    genes: pd.DataFrame


def annotate(
    samples: Sequence[str | Path], clusters: np.ndarray, lists: MarkerList, path: str, seed: int
) -> Annotation:
    """Score the lists in all cells, and call each cluster.

    Parameters
    ----------
    samples : filtered.h5ad of each, in the order of the cells.
    clusters : of the cells, strings of whole numbers.
    lists : see `lists.read_marker_list`.
    path : of their file, for messages.
    seed : of the random lists.

    Raises
    ------
    InputError
        No type has a gene (+) that all samples have.
    """
    var = common_genes(samples)
    genes = gene_table(lists, var)
    signs = found_genes(genes, path)
    names = sorted(set(clusters), key=int)
    codes = pd.Index(names).get_indexer(clusters)
    most = min(MOST_RANKS, len(var))
    scored = score_cells(samples, var.index, codes, weights_of(signs, var.index, most), most)
    found = weigh_all(scored, signs, var.index, seed)
    sizes = np.bincount(codes)
    evidence = evidence_table(found, scored, codes, names)
    calls = pd.DataFrame(
        [called(k, found, var.index) for k in range(len(names))], columns=list(CALLED[2:])
    )
    calls.insert(0, "cluster", names)
    calls.insert(1, "cells", sizes)
    for row in calls.itertuples():
        logger.info("cluster %s: %s (%s)", row.cluster, row.label, row.types or "no list fits")
    named = calls["label"] != UNASSIGNED
    logger.info("%d of %d clusters have a label", named.sum(), len(calls))
    return Annotation(list(signs), scored.scores, evidence, calls, genes)


def weigh_all(
    scored: Scored, signs: Mapping[str, Mapping[str, int]], genes: pd.Index, seed: int
) -> dict[str, Evidence]:
    """Evidence of each list."""
    distances, level = distances_of(scored), scored.means.mean(axis=0)
    return {
        name: weigh(distances, level, {genes.get_loc(g): sign for g, sign in own.items()}, seed)
        for name, own in signs.items()
    }


def adjusted(found: Mapping[str, Evidence]) -> np.ndarray:
    """p values of a cluster, adjusted over the types (Benjamini-Hochberg; clusters x types)."""
    return false_discovery_control(np.stack([own.p for own in found.values()], axis=1), axis=1)


def evidence_table(
    found: Mapping[str, Evidence], scored: Scored, codes: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """scores.tsv.

    Parameters
    ----------
    found : evidence by type.
    scored : the scores of the cells.
    codes : cluster of each cell, by its place among `names`.
    names : of the clusters.
    """
    q = adjusted(found)
    means = pd.DataFrame(scored.scores).groupby(codes).mean().to_numpy(dtype=float)
    parts = [
        pd.DataFrame(
            {"cluster": names, "type": name, "n_genes": len(own.genes), "score": means[:, i],
             "effect": own.effect, "strength": own.strength, "z": own.z, "p": own.p, "q": q[:, i]}
        )
        for i, (name, own) in enumerate(found.items())
    ]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values("cluster", key=lambda c: c.astype(int), kind="stable")


def called(
    cluster: int, found: Mapping[str, Evidence], genes: pd.Index
) -> tuple[str, str, str, float, str]:
    """Label of a cluster, and what it rests on.

    A type fits with a q value of at most `LIMIT` and a strength of at least `LEAST`. The label is
    the type that fits with the largest effect. It must stay the largest whichever single gene is
    left out, of its own list or of another one that fits.

    Parameters
    ----------
    cluster : its number.
    found : evidence by type.
    genes : names of the columns.

    Returns
    -------
    Label or `unassigned`; why it is that; the types that fit, those that cannot be told apart where
    there are several; the q value of the best; the genes that carried it, strongest first.
    """
    q = dict(zip(found, adjusted(found)[cluster], strict=True))
    fits = [
        name for name, own in found.items() if q[name] <= LIMIT and own.strength[cluster] >= LEAST
    ]
    if not fits:
        return UNASSIGNED, NO_LIST, "", min(q.values()), ""
    best = max(fits, key=lambda name: found[name].effect[cluster])
    own = found[best]
    rivals = [name for name in fits if name != best and not is_clear(own, found[name], cluster)]
    parts = own.parts[cluster]
    order = [i for i in np.argsort(-parts, kind="stable")[:MOST_CARRIED] if parts[i] > 0]
    carried = ", ".join(
        genes[own.genes[i]] + (" (absent)" if own.signs[i] < 0 else "") for i in order
    )
    label = UNASSIGNED if rivals else best
    rule = SEVERAL if rivals else ""
    return label, rule, joined([best, *rivals]), q[best], carried


def is_clear(best: Evidence, other: Evidence, cluster: int) -> bool:
    """Whether the best type stays the best whichever single gene of either list is left out."""
    return bool(
        best.effect_without[cluster].min() > other.effect[cluster]
        and best.effect[cluster] > other.effect_without[cluster].max()
    )


def cell_table(found: Annotation, clusters: pd.DataFrame) -> ad.AnnData:
    """cells.h5ad: what the lists say of each cell.

    Parameters
    ----------
    found : see `annotate`.
    clusters : clusters.tsv.gz, in the order of the cells.

    Returns
    -------
    AnnData
        No X; obs `label` and `rule` of the cell's cluster, and `score`: the cell's own of this type
        (NaN without a label); obsm `scores` (cells x types); uns `types`.
    """
    by_cluster = found.calls.set_index("cluster").loc[clusters["cluster"], ["label", "rule"]]
    obs = by_cluster.set_axis(pd.Index(clusters["cell"].to_numpy(object), dtype=object))
    column = pd.Index(found.types).get_indexer(obs["label"])
    own = found.scores[np.arange(len(obs)), column]
    obs["score"] = np.where(column >= 0, own, np.nan).astype(np.float32)
    types = np.array(found.types, dtype=object)
    return ad.AnnData(obs=obs, obsm={"scores": found.scores}, uns={"types": types})
