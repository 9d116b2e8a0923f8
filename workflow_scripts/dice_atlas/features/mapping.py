"""Batch correction of a query against a reference that does not move.

In the manner of Symphony (Kang et al. 2021, doi 10.1038/s41467-021-25957-x): soft clusters of the
reference stay fixed, query cells are assigned to them, and within each cluster the difference of
the query from the reference is removed. Three things differ, since a query's composition is not
the reference's:

- The assignment weighs each cluster by its share of the query, found by EM, so that types that the
  query lacks draw few cells.
- The differences are measured on mutual nearest neighbours (Haghverdi et al. 2018, doi
  10.1038/nbt.4091), so that cells of types that the reference lacks have little say. Such pairs lie
  nearer than chance: of a shift of several standard deviations about half is removed.
- The clusters' differences are taken as repeated measurements of one batch effect (random effects,
  DerSimonian and Laird 1986): they are shrunk towards their mean, the more the fewer cells a
  cluster has and the less the clusters differ.

Every query batch is mapped by itself: its cells move the same whatever else the query holds.
"""

import logging

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans

from dice_atlas.errors import InputError
from dice_atlas.features.harmony import n_clusters
from dice_atlas.numerics.neighbors import Neighbors
from dice_atlas.numerics.scaling import l2_normalize

logger = logging.getLogger(__name__)

SOFT_ROUNDS, COMPOSITION_ROUNDS = 20, 20
# Cells that each cluster has beforehand, so that no share becomes 0.
PRIOR_CELLS = 0.5
# Clusters with less evidence (`evidence`, in cells) say nothing about the batch effect's spread.
LEAST_EVIDENCE = 1.0
# With fewer clusters their spread is not known: one effect for all of them.
LEAST_CLUSTERS = 3
# Of a batch with fewer cells that have a mutual neighbour nothing is known: it stays.
LEAST_ANCHORED = 10
N_NEIGHBORS = 10
# Fewer reference cells are no place to map to.
LEAST_REFERENCE = 3


def soft_assignment(
    pcs: np.ndarray, centroids: np.ndarray, sigma: float, log_weights: np.ndarray | float = 0.0
) -> np.ndarray:
    """Shares (cells x K) in proportion to weight x exp(-2 (1 - cosine) / sigma), as Harmony's."""
    shares = 2 * (l2_normalize(pcs) @ centroids.T - 1) / sigma + log_weights
    shares -= shares.max(axis=1, keepdims=True)
    np.exp(shares, out=shares)
    return shares / shares.sum(axis=1, keepdims=True)


def composed_assignment(pcs: np.ndarray, centroids: np.ndarray, sigma: float) -> np.ndarray:
    """Soft assignment (cells x K) with the clusters weighed by their shares of these cells.

    EM for the proportions of a mixture with fixed components.
    """
    shares = soft_assignment(pcs, centroids, sigma)
    for _ in range(COMPOSITION_ROUNDS):
        shares = soft_assignment(pcs, centroids, sigma, np.log(shares.sum(axis=0) + PRIOR_CELLS))
    return shares


def reference_centroids(pcs: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Centroids (K x p, unit vectors) of a soft k-means of a reference by the cosine.

    It is Harmony's clustering for a single batch.

    Parameters
    ----------
    pcs : cells x p, corrected for the reference's own batches.
    sigma : width of the soft assignment (config `batch.sigma`).
    seed : of the k-means that it starts from.

    Raises
    ------
    InputError
        There are fewer than 3 reference cells.
    """
    k = n_clusters(len(pcs))
    if len(pcs) < LEAST_REFERENCE:
        raise InputError(
            f"batch.scope is mapped: seen {len(pcs)} reference cells, expected at least "
            f"{LEAST_REFERENCE}, and better hundreds: add reference cells, or set batch.scope to "
            "within_role or none"
        )
    directions = l2_normalize(pcs)
    start = KMeans(k, n_init=3, max_iter=25, random_state=seed).fit(directions)
    centroids = l2_normalize(start.cluster_centers_)
    for _ in range(SOFT_ROUNDS):
        centroids = l2_normalize(soft_assignment(pcs, centroids, sigma).T @ directions)
    return centroids


def shrink(
    differences: np.ndarray, evidence: np.ndarray, ridge: np.ndarray | float, center: np.ndarray
) -> np.ndarray:
    """Effects (K x p): differences shrunk towards `center` (p) by a ridge penalty (in cells; p).

    The ridge regression of the cells of a cluster, reference and query, on an intercept without
    a penalty and on being of the query, with the penalty on what that effect differs from
    `center`. Symphony is center 0, ridge 1.
    """
    return center + evidence[:, None] / (evidence[:, None] + ridge) * (differences - center)


def random_effects(
    differences: np.ndarray, evidence: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean batch effect over the clusters and the ridge penalty that their spread asks for.

    Per PC, of the model difference_k ~ N(center, spread + variance / evidence_k): `spread` by the
    moments of DerSimonian and Laird, `center` the mean with the weights of that model, shrunk to 0
    as a whole by what it owes to chance (James and Stein): few cells must not move far.

    Parameters
    ----------
    differences, evidence, variance : see `anchored_differences`.

    Returns
    -------
    center : p.
    ridge : p, variance / spread in cells; infinite where the clusters differ by chance only.
    """
    used = evidence > LEAST_EVIDENCE
    if used.sum() < LEAST_CLUSTERS:
        total = max(evidence.sum(), np.finfo(float).tiny)
        center = evidence @ differences / total
        return _without_chance(center, variance / total), np.full(len(variance), np.inf)
    measured, weights = differences[used], evidence[used, None] / variance
    total = weights.sum(axis=0)
    center = (weights * measured).sum(axis=0) / total
    excess = (weights * (measured - center) ** 2).sum(axis=0) - (used.sum() - 1)
    spread = np.maximum(excess / (total - (weights**2).sum(axis=0) / total), 0.0)
    weights = 1 / (spread + variance / evidence[used, None])
    total = weights.sum(axis=0)
    center = (weights * measured).sum(axis=0) / total
    with np.errstate(divide="ignore"):
        return _without_chance(center, 1 / total), variance / spread


def mutual_neighbors(query: np.ndarray, reference: np.ndarray, n_neighbors: int) -> sp.csr_matrix:
    """1 where a query and a reference cell are among each other's nearest by the cosine."""
    query, reference = l2_normalize(query), l2_normalize(reference)
    there = _neighbor_graph(query, reference, n_neighbors)
    return there.multiply(_neighbor_graph(reference, query, n_neighbors).T).tocsr()


def anchored_differences(
    pcs: np.ndarray, assignment: np.ndarray, reference: np.ndarray, n_neighbors: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """How far the cells of one query batch lie from their mutual neighbours, cluster by cluster.

    Parameters
    ----------
    pcs, assignment : cells x p and cells x K, of one batch.
    reference : cells x p.
    n_neighbors : within which neighbours are mutual.

    Returns
    -------
    differences : K x p, mean of the cells minus the mean of their mutual neighbours.
    evidence : K, cells that have any: a difference has variance `variance` / evidence.
    variance : p, of the cells' differences within clusters.

    None where fewer than `LEAST_ANCHORED` cells have a mutual neighbour.
    """
    mutual = mutual_neighbors(pcs, reference, n_neighbors)
    n_mutual = np.asarray(mutual.sum(axis=1)).ravel()
    anchored = n_mutual > 0
    if anchored.sum() < LEAST_ANCHORED:
        return None
    nearby = (mutual[anchored] @ reference) / n_mutual[anchored, None]
    evidence, sums, scatter, freedom = soft_moments(pcs[anchored] - nearby, assignment[anchored])
    return soft_means(sums, evidence), evidence, pooled_variance(scatter, freedom)


def map_batch(
    pcs: np.ndarray,
    centroids: np.ndarray,
    sigma: float,
    reference: np.ndarray,
    n_neighbors: int = N_NEIGHBORS,
) -> np.ndarray:
    """PCs (cells x p) of one query batch without its difference from the reference (cells x p)."""
    assignment = composed_assignment(pcs, centroids, sigma)
    measured = anchored_differences(pcs, assignment, reference, n_neighbors)
    if measured is None:
        logger.warning("%d query cells: too few mutual neighbours, not corrected", len(pcs))
        return pcs
    differences, evidence, variance = measured
    center, ridge = random_effects(differences, evidence, variance)
    return pcs - assignment @ shrink(differences, evidence, ridge, center)


def map_query(
    reference: np.ndarray,
    query: np.ndarray,
    batches: np.ndarray,
    sigma: float,
    seed: int,
    n_neighbors: int = N_NEIGHBORS,
) -> np.ndarray:
    """Move the query onto the reference, batch by batch.

    Parameters
    ----------
    reference : cells x p, PCs corrected for the reference's own batches; stays as it is.
    query : cells x p, in the reference's PCs.
    batches : one value per query cell.
    sigma : width of the soft assignment (config `batch.sigma`).
    seed : of the clustering of the reference.
    n_neighbors : within which neighbours are mutual.

    Returns
    -------
    The corrected query, cells x p.

    Raises
    ------
    InputError
        The reference has fewer than 3 cells.
    """
    centroids = reference_centroids(reference, sigma, seed)
    corrected = np.array(query, dtype=np.float64)
    for batch in np.unique(batches):
        rows = np.asarray(batches) == batch
        corrected[rows] = map_batch(corrected[rows], centroids, sigma, reference, n_neighbors)
    return corrected


def _without_chance(center: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """James and Stein's positive part: a mean (p) with its sampling variances (p) shrunk to 0."""
    length = center @ center
    return center * (max(1 - variance.sum() / length, 0.0) if length else 0.0)


def _neighbor_graph(cells: np.ndarray, points: np.ndarray, k: int) -> sp.csr_matrix:
    """1 where a point is among the k nearest of a cell (cells x points)."""
    k = min(k, len(points))
    nearest, _ = Neighbors(points).nearest(cells, k)
    rows = np.repeat(np.arange(len(cells)), k)
    return sp.csr_matrix((np.ones(rows.size), (rows, nearest.ravel())), (len(cells), len(points)))


def soft_means(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Means (K x p) of clusters with sums (K x p) and sizes (K); 0 where a size is 0."""
    return sums / np.maximum(sizes, np.finfo(float).tiny)[:, None]


def pooled_variance(scatter: np.ndarray, freedom: float) -> np.ndarray:
    """Scatter (p) by degrees of freedom, above 0 and finite: it is divided by."""
    return np.maximum(scatter / max(freedom, 1.0), np.finfo(float).tiny)


def soft_moments(
    pcs: np.ndarray, assignment: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Sizes (K), sums (K x p), pooled scatter (p) of soft clusters, and its degrees of freedom.

    The scatter of n cells of variance 1 is n - sum_ik a_ik^2 / n_k in expectation: n - K where
    the assignment a is hard.
    """
    sizes, sums = assignment.sum(axis=0), assignment.T @ pcs
    squares = assignment.sum(axis=1) @ pcs**2
    scatter = np.maximum(squares - (soft_means(sums, sizes) * sums).sum(axis=0), 0.0)
    taken = soft_means((assignment**2).sum(axis=0)[:, None], sizes).sum()
    return sizes, sums, scatter, float(len(pcs) - taken)
