"""Labels of posterior samples: the share of a cell's samples that each label gets."""

import torch

from dice_atlas.numerics.exact_neighbors import nearest_on_device

# Distinct samples whose labels are kept, at most.
KEPT = 50_000


class LabelShares:
    """Share of each cell's samples that gets each label.

    A sample's label is the most frequent among its nearest reference latents; ties go to the
    first label. Samples of a kernel are its points: they come again and again, in a block of
    cells and from block to block, so their labels are kept.

    Parameters
    ----------
    reference, codes : latents (m, k) of reference cells, and their labels (m,) int64.
    n_labels : number of labels; the largest code is smaller.
    neighbors : of a sample; all of the reference where it has fewer.

    Attributes
    ----------
    known, label : samples that came more than once (n, k), and their labels (n,).
    """

    def __init__(
        self, reference: torch.Tensor, codes: torch.Tensor, n_labels: int, neighbors: int = 15
    ) -> None:
        self.reference, self.neighbors = reference, min(neighbors, len(reference))
        self.one_hot = torch.nn.functional.one_hot(codes, n_labels).float()
        self.known, self.label = reference[:0], codes[:0]

    @torch.inference_mode()
    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Shares (n, n_labels) of samples (draws, n, k)."""
        draws, n, k = samples.shape
        label = self.labels(samples.reshape(-1, k), n).view(draws, n).T
        shares = torch.zeros(n, self.one_hot.shape[1], device=samples.device)
        share = torch.full_like(label, 1.0 / draws, dtype=shares.dtype)
        return shares.scatter_add_(1, label, share)

    def labels(self, samples: torch.Tensor, at_once: int) -> torch.Tensor:
        """Labels (n,) of samples (n, k); neighbours of so many are sought at once."""
        known = len(self.known)
        both = torch.cat([self.known, samples])
        distinct, place, times = torch.unique(both, dim=0, return_inverse=True, return_counts=True)
        label = torch.full((len(distinct),), -1, dtype=torch.int64, device=samples.device)
        label[place[:known]] = self.label
        for new in (label < 0).nonzero()[:, 0].split(at_once):
            near = nearest_on_device(distinct[new], self.reference, self.neighbors)
            label[new] = self.one_hot[near].sum(dim=1).argmax(dim=1)
        # What came once may never come again: samples of a network do not.
        again = times > 1
        again[place[:known]] = True
        if again.sum() <= KEPT:
            self.known, self.label = distinct[again], label[again]
        return label[place[known:]]
