"""Augmentation: convex combinations of cells of one class (DICE, Appendix C)."""

import numpy as np
import torch

from dice_atlas.numerics.communities import leiden_communities
from dice_atlas.numerics.neighbors import Neighbors

# Other cells that a cell is mixed with.
PARTNERS = 4
# Of the clusters that stand for labels.
NEIGHBORS, RESOLUTION = 15, 1.0


class ClassMixup:
    """Replaces latents by convex combinations with cells of their own class.

    With probability `probability` a cell becomes the combination of itself and four others of
    its class, weights Dirichlet(1, 1, 1, 1, 1). The others are drawn with replacement, the cell
    among them, so that a class may have fewer than five cells.

    Parameters
    ----------
    classes : (n,) int64, the class of every cell.
    probability : of a cell being replaced.
    partners : number of other cells.
    """

    def __init__(self, classes: torch.Tensor, probability: float, partners: int = PARTNERS) -> None:
        self.probability, self.partners = probability, partners
        self.classes = classes
        # Cells sorted by class: members of class c are members[start[c] : start[c] + size[c]].
        self.members = torch.argsort(classes, stable=True)
        self.size = torch.bincount(classes)
        self.start = torch.cumsum(self.size, 0) - self.size

    def __call__(
        self, latents: torch.Tensor, rows: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Augmented latents (b, k) of the cells `rows` (b,) of `latents` (n, k)."""
        group, weights = self.draw(rows, generator)
        return (weights[:, :, None] * latents[group]).sum(dim=1)

    def draw(
        self, rows: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cells (b, partners + 1) that each draw is made of, the first its own, and weights."""
        own, device = self.classes[rows], rows.device

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator, device=device)

        size = self.size[own][:, None]
        pick = (uniform(len(rows), self.partners) * size).long().minimum(size - 1)
        others = self.members[self.start[own][:, None] + pick]
        group = torch.cat([rows[:, None], others], dim=1)
        # Dirichlet(1, ..., 1): normalised exponentials. 1 - uniform is never 0.
        weights = (-torch.log1p(-uniform(*group.shape))).clamp(min=1e-30)
        weights = weights / weights.sum(dim=1, keepdim=True)
        keep = uniform(len(rows), 1) >= self.probability
        return group, torch.where(keep, torch.eye(1, group.shape[1], device=device), weights)


def augmented(
    latents: torch.Tensor,
    classes: torch.Tensor,
    probability: float,
    generator: torch.Generator,
    at_least: int = 10_000,
) -> torch.Tensor:
    """Augmented draws (m, k), every cell (n, k) equally often; the cells as they are without mixup.

    Parameters
    ----------
    classes : (n,) int64.
    at_least : number of draws.
    """
    if not probability or not len(latents):
        return latents
    rows = torch.arange(len(latents)).repeat(-(-at_least // len(latents)))
    return ClassMixup(classes, probability)(latents, rows, generator)


def mixup_classes(
    latents: np.ndarray, labels: np.ndarray, augmentation: str, seed: int
) -> tuple[np.ndarray, str]:
    """Classes of the cells for the mixup.

    Parameters
    ----------
    latents : (n, k).
    labels : (n,), "" = none. Cells without one join the class whose mean is nearest.
    augmentation : labels, clusters or none; labels falls back to clusters where no cell has one.
    seed : of the clusters.

    Returns
    -------
    Classes (n,) int64, and what they are: labels, clusters or none.
    """
    if augmentation == "none":
        return np.zeros(len(latents), dtype=np.int64), "none"
    labelled = labels != ""
    if augmentation == "labels" and labelled.any():
        names, codes = np.unique(labels[labelled], return_inverse=True)
        centers = np.stack([latents[labelled][codes == c].mean(axis=0) for c in range(len(names))])
        classes = np.empty(len(latents), dtype=np.int64)
        classes[labelled] = codes
        if not labelled.all():
            # Not every job that imports this module needs it: it takes a second to load.
            from sklearn.metrics import pairwise_distances_argmin

            classes[~labelled] = pairwise_distances_argmin(latents[~labelled], centers)
        return classes, "labels"
    return communities(latents, seed), "clusters"


def communities(latents: np.ndarray, seed: int) -> np.ndarray:
    """Leiden communities (modularity) of the graph of nearest neighbours, (n,) int64.

    Clusters of one size, as of k-means, cut large types to pieces, between which a prior of mixed
    cells has gaps.

    Parameters
    ----------
    latents : (n, k).
    seed : of Leiden.
    """
    n = len(latents)
    k = min(NEIGHBORS, n - 1)
    if k < 1:
        return np.zeros(n, dtype=np.int64)
    index, _ = Neighbors(np.asarray(latents, dtype=np.float64)).nearest_others(k)
    pairs = np.stack([np.repeat(np.arange(n), k), index.ravel()], axis=1)
    once = np.unique(np.sort(pairs, axis=1), axis=0)
    (found,) = leiden_communities(n, once, [RESOLUTION], seed)
    return found


def split_rows(
    classes: torch.Tensor, share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and validation rows.

    Parameters
    ----------
    classes : (n,).
    share : of every class that is held out, rounded down.
    """
    order = torch.randperm(len(classes), generator=generator)
    held = torch.zeros(len(classes), dtype=torch.bool)
    for label in classes.unique():
        members = order[classes[order] == label]
        held[members[: int(len(members) * share)]] = True
    return torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
