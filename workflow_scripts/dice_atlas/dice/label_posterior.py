"""Labels of posterior samples: the share of a cell's samples that each label gets."""

import torch

from dice_atlas.numerics.exact_neighbors import nearest_on_device


@torch.inference_mode()
def label_shares(
    samples: torch.Tensor,
    reference: torch.Tensor,
    codes: torch.Tensor,
    n_labels: int,
    neighbors: int = 15,
) -> torch.Tensor:
    """Share of each cell's samples that gets each label.

    A sample's label is the most frequent among its nearest reference latents; ties go to the
    first label.

    Parameters
    ----------
    samples : (draws, n, k).
    reference, codes : latents (m, k) of reference cells, and their labels (m,) int64.
    n_labels : number of labels; the largest code is smaller.
    neighbors : of a sample; all of the reference where it has fewer.

    Returns
    -------
    (n, n_labels).
    """
    draws, n, k = samples.shape
    neighbors = min(neighbors, len(reference))
    one_hot = torch.nn.functional.one_hot(codes, n_labels).float()
    # Samples of a kernel are its points, many of them the same.
    distinct, place = torch.unique(samples.reshape(-1, k), dim=0, return_inverse=True)
    labels = [
        one_hot[nearest_on_device(part, reference, neighbors)].sum(dim=1).argmax(dim=1)
        for part in distinct.split(n)
    ]
    label = torch.cat(labels)[place].view(draws, n).T
    shares = torch.zeros(n, n_labels, device=samples.device)
    return shares.scatter_add_(1, label, torch.full_like(label, 1.0 / draws, dtype=shares.dtype))
