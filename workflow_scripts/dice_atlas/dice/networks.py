"""What priors are made of: the paper's noise predictor, our posterior-mean predictor, a kernel."""

import functools
import math

import torch
from torch import nn

from dice_atlas.dice.mixup import PARTNERS


def sinusoidal(position: torch.Tensor, size: int) -> torch.Tensor:
    """Sinusoidal embedding (n, size) of positions (n,), as in Vaswani et al. 2017."""
    half = size // 2
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(half, device=position.device) / half)
    angle = position[:, None] * frequency[None, :]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class ResidualBatchNorm(nn.Module):
    """x + [Linear BatchNorm SiLU Linear BatchNorm](x), twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.BatchNorm1d(2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
            nn.BatchNorm1d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width)."""
        return x + self.body(x)


class TabularDiffusionMLP(nn.Module):
    """The paper's noise predictor eps(u_t, t / T) for k latents (DICE, Appendix C).

    Parameters
    ----------
    k : latent dimensions.
    width : D of the paper (512 for single cells).
    blocks : M of the paper (8 for single cells).
    """

    def __init__(self, k: int, width: int = 512, blocks: int = 8) -> None:
        super().__init__()
        self.data = nn.Linear(k, width)
        self.time = nn.Sequential(
            nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.blocks = nn.Sequential(*[ResidualBatchNorm(2 * width) for _ in range(blocks)])
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, k))

    def forward(self, u: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Predicted noise (n, k) of u (n, k) at time (n,) in [0, 1]."""
        # One embedding per distinct time: in a sampler all cells share it.
        embedding = self.time(sinusoidal(time, 16)).expand(u.shape[0], -1)
        return self.head(self.blocks(torch.cat([self.data(u), embedding], dim=-1)))


class ModulatedBlock(nn.Module):
    """Residual block whose LayerNorm is scaled and shifted by the noise level's embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        first, last = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.body = nn.Sequential(first, nn.SiLU(), last)
        # Every block starts as the identity.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """(n, width) and the level's embedding (n or 1, width) -> (n, width)."""
        scale, shift = self.modulation(embedding).chunk(2, dim=-1)
        return x + self.body(self.norm(x) * (1 + scale) + shift)


class GaussianMixtureMean(nn.Module):
    """E[u | u + s eps] under a Gaussian mixture with full covariances, exactly.

    Parameters
    ----------
    k : latent dimensions.
    components : of the mixture; one standard normal until `set` is called.
    """

    log_weight: torch.Tensor
    center: torch.Tensor
    variance: torch.Tensor
    basis: torch.Tensor

    def __init__(self, k: int, components: int) -> None:
        super().__init__()
        self.register_buffer("log_weight", torch.zeros(components))
        self.register_buffer("center", torch.zeros(components, k))
        # Covariance of component c: basis[c] diag(variance[c]) basis[c]^T.
        self.register_buffer("variance", torch.ones(components, k))
        self.register_buffer("basis", torch.eye(k).repeat(components, 1, 1))

    def set(self, weight: torch.Tensor, center: torch.Tensor, covariance: torch.Tensor) -> None:
        """Take weights (c,), centers (c, k) and covariances (c, k, k)."""
        variance, basis = torch.linalg.eigh(covariance)
        self.log_weight.copy_(weight.log())
        self.center.copy_(center)
        self.variance.copy_(variance)
        self.basis.copy_(basis)

    def forward(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Posterior mean (n, k) of u (n, k) at noise level s (n or 1, 1)."""
        shares, means = self.posterior(u, s)
        return sum(share[:, None] * mean for share, mean in zip(shares, means, strict=True))

    def posterior(
        self, u: torch.Tensor, s: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Probability (c, n) of each component, and its posterior mean (n, k)."""
        # Not in low precision: the log densities are differences of large numbers.
        with torch.autocast(u.device.type, enabled=False):
            logs, means = [], []
            # One component at a time stays in a CPU's cache; all at once take twice as long.
            for log_weight, center, variance, basis in zip(
                self.log_weight, self.center, self.variance, self.basis, strict=True
            ):
                offset, total = (u.float() - center) @ basis, variance + s**2
                logs.append(log_weight - (offset**2 / total + total.log()).sum(dim=1) / 2)
                means.append(center + (offset * (variance / total)) @ basis.mT)
            return torch.softmax(torch.stack(logs), dim=0), means

    def draw(self, component: int, noise: torch.Tensor) -> torch.Tensor:
        """Draws (n, k) of one component from standard normal noise (n, k)."""
        spread = noise * self.variance[component].sqrt()
        return self.center[component] + spread @ self.basis[component].mT


class KernelMean(nn.Module):
    """E[u | u + s eps] if u is one of m points, or with a small probability a broad Gaussian's.

    A cell that a point was made of would find itself in the prior. Its own points can be left out,
    so that the cells of the prior are denoised as cells that are new to it.

    Parameters
    ----------
    k : latent dimensions.
    points : m.
    cells : distinct cells that the points were made of.
    """

    point: torch.Tensor
    log_weight: torch.Tensor
    share: torch.Tensor
    member: torch.Tensor
    number: torch.Tensor

    def __init__(self, k: int, points: int, cells: int = 0) -> None:
        super().__init__()
        self.register_buffer("point", torch.zeros(points, k))
        self.register_buffer("log_weight", torch.full((points,), -math.log(points)))
        # Prior probability of the Gaussian.
        self.register_buffer("share", torch.zeros(()))
        # Cells that each point is made of; numbers of the cells, rising.
        self.register_buffer("member", torch.zeros(points, PARTNERS + 1, dtype=torch.int32))
        self.register_buffer("number", torch.zeros(cells, dtype=torch.int64))
        self.broad = GaussianMixtureMean(k, 1)

    def cell_of(self, numbers: torch.Tensor) -> torch.Tensor:
        """Which of its cells (n,) have these numbers (n,); -1: none."""
        if not len(self.number):
            return torch.full_like(numbers, -1)
        place = torch.searchsorted(self.number, numbers).clamp(max=len(self.number) - 1)
        return torch.where(self.number[place] == numbers, place, -1)

    @functools.cached_property
    def points_of(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Points sorted by the cells that they are made of; start and number of each cell's."""
        order = torch.argsort(self.member.flatten(), stable=True)
        size = torch.bincount(self.member.flatten(), minlength=len(self.number))
        return order // self.member.shape[1], torch.cumsum(size, 0) - size, size

    def leave_out(self, logits: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Logits (n, m) without the points that are made of a row's own cell (n,); -1: all."""
        points, start, size = self.points_of
        rows = torch.nonzero(cells >= 0)[:, 0]
        sizes = size[cells[rows]]
        total = torch.cumsum(sizes, 0)
        within = torch.arange(int(total[-1]) if len(total) else 0, device=cells.device)
        within = within - (total - sizes).repeat_interleave(sizes)
        chosen = points[start[cells[rows]].repeat_interleave(sizes) + within]
        logits[rows.repeat_interleave(sizes), chosen] = -torch.inf
        return logits

    def weights(self, u: torch.Tensor, s: float, cells: torch.Tensor | None = None) -> torch.Tensor:
        """Probability (n, m + 1) of each point, and of the Gaussian, given u (n, k).

        `cells` (n,) are those of `cell_of`, whose own points are left out; None: none are.
        """
        center, variance, basis = (
            getattr(self.broad, name)[0] for name in ("center", "variance", "basis")
        )
        # Not in low precision, as in a mixture.
        with torch.autocast(u.device.type, enabled=False):
            offset, point = u.float() - center, self.point - center
            # The squared distance, less that of u to the center, which all have in common.
            exponent = (offset @ point.mT - (point**2).sum(dim=1) / 2) / s**2
            total = (variance + s**2) / s**2
            # Log density of the Gaussian over that of noise around the center.
            gain = (offset @ basis) ** 2 * (1 - 1 / total) / s**2 - total.log()
            broad = self.share.log() + gain.sum(dim=1, keepdim=True) / 2
            points = exponent + torch.log1p(-self.share) + self.log_weight
            if cells is not None:
                points = self.leave_out(points, cells)
            return torch.softmax(torch.cat([points, broad], dim=1), dim=1)

    def moved(self, matrix: torch.Tensor) -> "KernelMean":
        """The kernel of latents u M, for a symmetric M (k, k)."""
        broad = self.broad
        found = KernelMean(self.point.shape[1], len(self.point), len(self.number))
        found.load_state_dict(self.state_dict())
        found = found.to(self.point.device)
        found.point.copy_(self.point @ matrix)
        factor = matrix @ (broad.basis[0] * broad.variance[0].sqrt())
        found.broad.set(torch.ones(1), broad.center @ matrix, (factor @ factor.mT)[None])
        return found

    def broad_mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Posterior mean (n, k) under the Gaussian alone."""
        return self.broad(u, torch.full((1, 1), s, device=u.device))

    def broad_variance(self, s: float) -> torch.Tensor:
        """Posterior variances (k,) under the Gaussian alone, along its own axes."""
        variance = self.broad.variance[0]
        return variance * s**2 / (variance + s**2)

    def mean(self, u: torch.Tensor, s: float, weights: torch.Tensor) -> torch.Tensor:
        """Posterior mean (n, k) of u (n, k) at noise level s, by its `weights`."""
        return weights[:, :-1] @ self.point + weights[:, -1:] * self.broad_mean(u, s)

    def forward(self, u: torch.Tensor, s: float, cells: torch.Tensor | None = None) -> torch.Tensor:
        """Posterior mean (n, k) of u (n, k) at noise level s; `cells` as in `weights`."""
        return self.mean(u, s, self.weights(u, s, cells))


class PosteriorMeanMLP(nn.Module):
    """Predicts E[u | u + s eps] at any noise level s: a Gaussian mixture's mean, corrected.

    Preconditioning of Karras et al. 2022 (Table 1) per latent dimension, with data of mean m and
    standard deviation sd: input = 1 / sqrt(sd^2 + s^2), output = s sd / sqrt(sd^2 + s^2). Their
    skip connection sd^2 / (sd^2 + s^2) is the posterior mean under one Gaussian; here it is that
    under a mixture fitted to the data (`GaussianMixtureMean`).

    Parameters
    ----------
    k : latent dimensions.
    width, blocks : size of the network.
    components : of the mixture, the background among them, which is the last.
    """

    mean: torch.Tensor
    sd: torch.Tensor
    background: torch.Tensor

    def __init__(self, k: int, width: int = 256, blocks: int = 4, components: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("sd", torch.ones(k))
        # Prior probability of the background; 0: there is none.
        self.register_buffer("background", torch.zeros(()))
        self.mixture = GaussianMixtureMean(k, components)
        self.data = nn.Linear(k, width)
        self.level = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList([ModulatedBlock(width) for _ in range(blocks)])
        last = nn.Linear(width, k)
        self.head = nn.Sequential(nn.LayerNorm(width), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def raw(self, scaled: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """The network itself: (n, k) preconditioned input, s (n or 1, 1) -> (n, k)."""
        embedding = self.level(sinusoidal(10.0 * torch.log(s[:, 0]), 16))
        x = self.data(scaled)
        for block in self.blocks:
            x = block(x, embedding)
        return self.head(x)

    def scales(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and output factors (n or 1, k) at noise level s."""
        root = (self.sd**2 + s**2).rsqrt()
        return root, s * self.sd * root

    def forward(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        """Posterior mean (n, k) of u (n, k) at noise level s (n or 1, 1)."""
        inward, outward = self.scales(s)
        return self.mixture(u, s) + outward * self.raw((u - self.mean) * inward, s)

    def loss(self, u: torch.Tensor, s: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the network's own target, of about unit size at every level."""
        inward, outward = self.scales(s)
        noisy = u + s * noise
        target = (u - self.mixture(noisy, s)) / outward
        return ((self.raw((noisy - self.mean) * inward, s) - target) ** 2).mean()
