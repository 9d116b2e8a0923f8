"""Latents of the training cells, and priors that new cells are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import norm, rankdata

from dice_atlas.dice.noise import CellNoise
from dice_atlas.synthesis.count_vae import CountVAE

# Streams of a cell's noise, so that its latents and counts do not share numbers.
LATENT_STREAM, CHAIN_STREAM = 0, 1
# Rows of the covariance count as so many cells more of the pooled one.
SHRINKAGE = 20
# Draws of each cell that class means and covariances are estimated from.
DRAWS = 4
QUANTILES = 1001


@dataclass(frozen=True)
class LatentCells:
    """What the encoder says of the training cells.

    A cell's point u holds its standardised draw of q(z|x) and the normal score of its library, so
    that both are drawn together (k + 1 dimensions).

    Attributes
    ----------
    mean, sd : (n, k), of q(z|x), standardised over the cells.
    score : (n,) normal score of the library.
    codes : (n,) int64 classes; all 0 without.
    center, scale : (k,), from standardised latents back to z.
    libraries : (q,) quantiles of the libraries, evenly spaced.
    """

    mean: torch.Tensor
    sd: torch.Tensor
    score: torch.Tensor
    codes: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    libraries: torch.Tensor

    @property
    def n_classes(self) -> int:
        """Number of classes, 1 without."""
        return int(self.codes.max()) + 1

    def points(self, rows: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Draws u (m, k + 1) of training cells.

        Parameters
        ----------
        rows : (m,) positions.
        noise : (m, k) standard normal.
        """
        z = self.mean[rows] + self.sd[rows] * noise
        return torch.cat([z, self.score[rows, None]], dim=1)

    def rows(self) -> torch.Tensor:
        """What a trainer takes of each cell: mean, sd, score and class, (n, 2 k + 2) float32."""
        tail = torch.stack([self.score, self.codes.float()], dim=1)
        return torch.cat([self.mean, self.sd, tail], dim=1)

    def latents(self, points: torch.Tensor) -> torch.Tensor:
        """z (m, k) of points (m, k + 1)."""
        return points[:, :-1] * self.scale + self.center

    def library(self, points: torch.Tensor) -> np.ndarray:
        """Library sizes (m,) of points (m, k + 1), float64."""
        place = norm.cdf(points[:, -1].double().cpu().numpy())
        known = self.libraries.double().cpu().numpy()
        return np.interp(place, np.linspace(0.0, 1.0, len(known)), known)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it by name."""
        return {name: value.cpu().contiguous() for name, value in vars(self).items()}

    def to(self, device: str) -> "LatentCells":
        """The same on a device."""
        return LatentCells(**{name: value.to(device) for name, value in vars(self).items()})


@torch.no_grad()
def encode(network: CountVAE, counts: sp.csr_matrix, codes: np.ndarray) -> LatentCells:
    """Encode the training cells.

    Parameters
    ----------
    counts : (n, g + 1) CSR.
    codes : (n,) classes.
    """
    network.eval()
    device = network.log_theta.device
    means, variances = [], []
    for start in range(0, counts.shape[0], 1024):
        dense = torch.from_numpy(counts[start : start + 1024].toarray()).to(device)
        mean, log_variance = network.posterior(dense)
        means.append(mean.cpu())
        variances.append(log_variance.exp().cpu())
    mean, variance = torch.cat(means), torch.cat(variances)
    center = mean.mean(dim=0)
    scale = torch.sqrt(mean.var(dim=0, correction=0) + variance.mean(dim=0)).clamp(min=1e-3)
    library = counts.sum(axis=1, dtype=np.float64).A1
    score = norm.ppf((rankdata(library) - 0.5) / len(library))
    quantiles = np.quantile(library, np.linspace(0, 1, QUANTILES), method="hazen")
    return LatentCells(
        (mean - center) / scale,
        variance.sqrt() / scale,
        torch.from_numpy(score.astype(np.float32)),
        torch.from_numpy(codes.astype(np.int64)),
        center,
        scale,
        torch.from_numpy(quantiles.astype(np.float32)),
    )


@dataclass(frozen=True)
class ClassGaussians:
    """A Gaussian of each class's points.

    Attributes
    ----------
    weight : (c,) shares of the classes.
    mean : (c, d).
    covariance : (c, d, d), shrunk towards the pooled within-class one.
    """

    weight: torch.Tensor
    mean: torch.Tensor
    covariance: torch.Tensor

    def sample(self, codes: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Draws (m, d) of classes (m,) from noise (m, d)."""
        eye = 1e-5 * torch.eye(self.mean.shape[1], device=self.mean.device)
        factors = torch.linalg.cholesky(self.covariance + eye)
        return self.mean[codes] + torch.einsum("mij,mj->mi", factors[codes], noise)


def class_gaussians(cells: LatentCells, seed: int) -> ClassGaussians:
    """Means and covariances of the classes, from `DRAWS` draws of every cell.

    The weight of the pooled covariance is (d + 20) / (d + 20 + n) for n cells in d dimensions.
    """
    n, d = len(cells.score), cells.mean.shape[1] + 1
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(n).repeat(DRAWS)
    noise = torch.randn((len(rows), d - 1), generator=generator)
    points, codes = cells.points(rows, noise).double(), cells.codes[rows]
    mean = torch.stack([points[codes == c].mean(dim=0) for c in range(cells.n_classes)])
    residual = points - mean[codes]
    pooled = residual.mT @ residual / (len(points) - cells.n_classes)
    covariances, sizes = [], []
    for c in range(cells.n_classes):
        own = residual[codes == c]
        size = len(own) / DRAWS
        weight = (d + SHRINKAGE) / (d + SHRINKAGE + size)
        covariances.append(weight * pooled + (1 - weight) * own.mT @ own / max(len(own) - 1, 1))
        sizes.append(size)
    share = torch.tensor(sizes) / n
    return ClassGaussians(share, mean.float(), torch.stack(covariances).float())


def members_by_class(codes: torch.Tensor) -> list[torch.Tensor]:
    """Positions of the cells of each class."""
    return [torch.nonzero(codes == c)[:, 0] for c in range(int(codes.max()) + 1)]


def pick(members: Mapping[int, torch.Tensor] | list[torch.Tensor], codes: torch.Tensor,
         normal: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """A training cell of the class of each new one (m,), uniformly, from standard normal (m,)."""
    uniform = torch.special.ndtr(normal.double())
    chosen = torch.empty_like(codes)
    for c in codes.unique().tolist():
        own = codes == c
        place = (uniform[own] * len(members[c])).long().clamp(max=len(members[c]) - 1)
        chosen[own] = members[c].to(codes.device)[place]
    return chosen


def draw_posterior(
    cells: LatentCells, codes: torch.Tensor, indices: torch.Tensor, seed: int
) -> torch.Tensor:
    """Points (m, k + 1), each a draw of q(z|x) of one training cell of the class.

    Parameters
    ----------
    codes : (m,) classes of the new cells.
    indices : (m,) their numbers, on which the draws depend.
    """
    k = cells.mean.shape[1]
    noise = CellNoise(seed, indices, LATENT_STREAM, k + 1)()
    rows = pick(members_by_class(cells.codes), codes, noise[:, -1])
    return cells.points(rows, noise[:, :-1])


def draw_mixed(
    cells: LatentCells, gaussians: ClassGaussians, codes: torch.Tensor, indices: torch.Tensor,
    seed: int,
) -> torch.Tensor:  # fmt: skip
    """Points (m, k + 1), each between two training cells of the class, i and j.

    u = m_c + [w (u_i - m_c) + (1 - w) (u_j - m_c)] / sqrt(w^2 + (1 - w)^2) with w of
    Beta(1/2, 1/2): the class keeps its mean m_c and covariance, which plain mixing shrinks.
    """
    k = cells.mean.shape[1]
    noise = CellNoise(seed, indices, LATENT_STREAM, 2 * k + 3)()
    members = members_by_class(cells.codes)
    first = cells.points(pick(members, codes, noise[:, -1]), noise[:, :k])
    second = cells.points(pick(members, codes, noise[:, -2]), noise[:, k : 2 * k])
    # The arcsine law is Beta(1/2, 1/2).
    uniform = torch.special.ndtr(noise[:, -3].double())
    w = (torch.sin(torch.pi / 2 * uniform) ** 2).float()[:, None]
    mean = gaussians.mean[codes]
    between = w * (first - mean) + (1 - w) * (second - mean)
    return mean + between / torch.sqrt(w**2 + (1 - w) ** 2)


def draw_gaussian(
    gaussians: ClassGaussians,
    codes: torch.Tensor,
    indices: torch.Tensor,
    seed: int,
    spread: float = 1.0,
) -> torch.Tensor:
    """Points (m, k + 1) of the class's Gaussian, its standard deviations times `spread`."""
    noise = CellNoise(seed, indices, LATENT_STREAM, gaussians.mean.shape[1])()
    return gaussians.sample(codes, spread * noise)
