"""The cells' expression, for likelihoods that are written in genes and not in latents."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from dice_atlas.dice.likelihoods import (
    CountModel,
    GaussianLikelihood,
    GeneModel,
    LangevinLikelihood,
    Likelihood,
    StudentT,
)
from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.scaling import scale

DEGREES = 4.0  # of freedom of the Student t noise, as in the paper's setups 3 and 4
# A gene that the latents explain fully would get all the weight.
MIN_VARIANCE = 0.05


class GeneSpace:
    """Expression of a shard's cells and what relates it to the latents.

    Parameters
    ----------
    expression : n x d, log-normalised (the genes of `space`).
    depth : (n,), total counts of the cells over the total they were normalised to.
    shift : n x k, what the batch correction added to the latents.
    first : index in the atlas of the first of these cells; the others follow.
    space : loadings and scaling.
    latent : uns["latent"]: `gene_variance`, `gene_dispersion` (d each).
    """

    def __init__(
        self,
        expression: sp.csr_matrix,
        depth: np.ndarray,
        shift: np.ndarray,
        first: int,
        space: LatentSpace,
        latent: Mapping[str, Any],
        device: str,
    ) -> None:
        self.expression, self.depth, self.shift, self.first = expression, depth, shift, first
        self.space, self.device = space, device
        self.loadings = self.tensor(space.loadings)
        self.variance = self.tensor(np.maximum(latent["gene_variance"], MIN_VARIANCE))
        self.dispersion = self.tensor(latent["gene_dispersion"])

    @property
    def n_genes(self) -> int:
        """d."""
        return self.expression.shape[1]

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """As float32 on the device."""
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=self.device)

    def likelihood(self, name: str, latents: torch.Tensor, cells: torch.Tensor) -> Likelihood:
        """The likelihood of a block of the cells.

        Parameters
        ----------
        name : gaussian_per_gene, student_t, poisson or negative_binomial.
        latents : (n, k), from which Langevin chains start.
        cells : (n,) int64, indices of the cells in the atlas.

        Raises
        ------
        ValueError
            Any other name.
        """
        rows = cells.cpu().numpy() - self.first
        shift = self.tensor(self.shift[rows])
        if name == "gaussian_per_gene":
            weighted = self.loadings / self.variance[:, None]
            precision = self.loadings.T @ weighted
            # The batch correction moves a cell by V shift in gene space.
            return GaussianLikelihood(self.scaled(rows) @ weighted + shift @ precision, precision)
        model: GeneModel
        if name == "student_t":
            # The scale at which the t distribution has the gene's variance.
            width = torch.sqrt(self.variance * (DEGREES - 2) / DEGREES)
            model = StudentT(self.scaled(rows), width, DEGREES)
        elif name in ("poisson", "negative_binomial"):
            depth = self.tensor(self.depth[rows, None])
            counts = torch.round(torch.expm1(self.dense(self.expression[rows])) * depth)
            sd, center = self.tensor(self.space.scaling.sd), self.tensor(self.space.scaling.center)
            dispersion = self.dispersion if name == "negative_binomial" else 0.0
            model = CountModel(counts, depth, sd, center, dispersion)
        else:
            raise ValueError(f"the likelihood {name!r} is not one in gene space")
        return LangevinLikelihood(model, self.loadings, latents, shift)

    def scaled(self, rows: np.ndarray) -> torch.Tensor:
        """Scaled, centred expression (n, d)."""
        return self.dense(scale(self.expression[rows], self.space.scaling)) - self.tensor(
            self.space.scaling.center
        )

    def dense(self, block: sp.csr_matrix) -> torch.Tensor:
        """A block of rows on the device."""
        return self.tensor(block.toarray())
