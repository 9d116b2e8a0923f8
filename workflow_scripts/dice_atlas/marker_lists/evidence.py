"""How much a list of genes says for its type in a cluster, and how much random lists would.

A gene's distance in a cluster is its mean rank there, less its mean over the clusters, in standard
deviations over all cells. A list's effect is the sum of the distances of its genes over the root of
their number, less the same of the genes with sign - (as in ScType: Ianevski, Giri, Aittokallio,
Nature Communications 13, 2022). A few cells of a type in a cluster of another one move it little.

A random list has, in place of each gene, one of nearly the same mean rank over the clusters, with
the gene's sign. One cluster alone has no distances, and so no evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dice_atlas.marker_lists.ranks import Scored

# Random lists: no p value is below 1 / (LISTS + 1).
LISTS = 10_000
# Genes that may stand in place of one.
CANDIDATES = 100
# Random lists in which a gene stands twice are drawn again, so often at the most.
TRIES = 20
ROUNDING = 1e-9


@dataclass(frozen=True)
class Evidence:
    """Of one list, in all clusters.

    Attributes
    ----------
    genes, signs : columns of its genes, and 1 or -1 of each.
    distances : clusters x genes of the list.
    p : clusters: share of random lists with as large an effect.
    z : clusters: the effect in standard deviations of random lists, over their mean.
    """

    genes: np.ndarray
    signs: np.ndarray
    distances: np.ndarray
    p: np.ndarray
    z: np.ndarray

    @property
    def parts(self) -> np.ndarray:
        """What each gene adds to the effect (clusters x genes)."""
        return self.distances * weights(self.signs)

    @property
    def effect(self) -> np.ndarray:
        """Of the list (clusters)."""
        return self.parts.sum(axis=1)

    @property
    def strength(self) -> np.ndarray:
        """Effect over the root of the number of genes with sign + (clusters).

        Without other genes it is the mean distance of the genes.
        """
        return self.effect / np.sqrt((self.signs > 0).sum())

    @property
    def effect_without(self) -> np.ndarray:
        """The effect with one gene left out (clusters x genes); -inf without the only gene."""
        found = np.full(self.distances.shape, -np.inf)
        for i in range(len(self.signs) if len(self.signs) > 1 else 0):
            kept = np.arange(len(self.signs)) != i
            found[:, i] = self.distances[:, kept] @ weights(self.signs[kept])
        return found


def weights(signs: np.ndarray) -> np.ndarray:
    """Weight of each gene's distance: its sign over the root of the number of such genes."""
    return signs / np.sqrt([(signs == sign).sum() for sign in signs])


def distances_of(scored: Scored) -> np.ndarray:
    """Distance of each gene in each cluster (clusters x genes)."""
    above = scored.means - scored.means.mean(axis=0)
    return np.divide(above, scored.sd, out=np.zeros_like(above), where=scored.sd > ROUNDING)


def weigh(
    distances: np.ndarray,
    level: np.ndarray,
    signs: Mapping[int, int],
    seed: int,
    lists: int = LISTS,
) -> Evidence:
    """Evidence of one list.

    Parameters
    ----------
    distances : clusters x genes.
    level : mean rank of each gene over the clusters.
    signs : 1 or -1 of the list's genes, by column.
    seed : of the random lists.
    lists : their number.
    """
    genes, own = np.array(list(signs), dtype=np.int64), np.array(list(signs.values()))
    drawn = draw_lists(similar_genes(level, genes), lists, np.random.default_rng(seed))
    random = np.zeros((lists, len(distances)))
    for i, weight in enumerate(weights(own)):
        random += weight * distances[:, drawn[:, i]].T
    effect = distances[:, genes] @ weights(own)
    as_large = (random >= effect - ROUNDING).sum(axis=0)
    spread = random.std(axis=0)
    over = effect - random.mean(axis=0)
    z = np.divide(over, spread, out=np.zeros_like(over), where=spread > ROUNDING)
    return Evidence(genes, own, distances[:, genes], (as_large + 1) / (lists + 1), z)


def similar_genes(level: np.ndarray, own: np.ndarray) -> np.ndarray:
    """For each gene of a list those of the nearest level, none of the list (genes x others)."""
    order = np.argsort(level, kind="stable")
    order = order[~np.isin(order, own)]
    n = min(max(CANDIDATES, 2 * len(own)), len(order))
    place = np.searchsorted(level[order], level[own])
    first = np.clip(place - n // 2, 0, len(order) - n)
    return order[first[:, None] + np.arange(n)]


def draw_lists(similar: np.ndarray, lists: int, rng: np.random.Generator) -> np.ndarray:
    """Random lists (lists x genes) of genes that differ, as far as there are enough."""
    n_genes, n = similar.shape
    rows, drawn = np.arange(lists), np.zeros((lists, n_genes), dtype=np.int64)
    for _ in range(TRIES):
        picks = rng.integers(0, n, (len(rows), n_genes))
        drawn[rows] = similar[np.arange(n_genes), picks]
        ordered = np.sort(drawn[rows], axis=1)
        rows = rows[(np.diff(ordered, axis=1) == 0).any(axis=1)]
        if not len(rows):
            break
    return drawn
