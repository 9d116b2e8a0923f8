"""Standard normal noise from a counter: the same for a cell whatever the shard or device.

Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". The key is
(seed, stream), the counter (cell, draw, step, block), so a draw depends on nothing else.
"""

import math

import torch

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF


def philox(counter: torch.Tensor, key: tuple[int, int]) -> torch.Tensor:
    """Ten rounds of Philox4x32.

    Parameters
    ----------
    counter : (..., 4) int64, each a 32-bit word.
    key : two 32-bit words.

    Returns
    -------
    (..., 4) int64, each a uniform 32-bit word.
    """
    a, b, c, d = counter.unbind(-1)
    key0, key1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64: masked, their bits are those of the unsigned product.
        product0, product1 = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        high0, low0 = (product0 >> 32) & MASK, product0 & MASK
        high1, low1 = (product1 >> 32) & MASK, product1 & MASK
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0, key1 = (key0 + WEYL[0]) & MASK, (key1 + WEYL[1]) & MASK
    return torch.stack([a, b, c, d], dim=-1)


class CellNoise:
    """Noise of a set of cells in one draw; every call is the next step.

    Parameters
    ----------
    seed : the atlas's seed.
    cells : (n,) int64, the cells' indices in the atlas.
    draws : (n,) int64 or one int, the draw (posterior sample or Gibbs repeat) of each row.
    k : number of latent dimensions.
    """

    def __init__(self, seed: int, cells: torch.Tensor, draws: torch.Tensor | int, k: int) -> None:
        draws = torch.as_tensor(draws, device=cells.device).expand_as(cells)
        blocks = torch.arange(math.ceil(k / 4), device=cells.device)
        shape = (cells.numel(), blocks.numel())
        self.k, self.key, self.step = k, (seed & MASK, 0), 0
        self.cells = cells[:, None].expand(shape)
        self.draws = draws[:, None].expand(shape)
        self.blocks = blocks[None, :].expand(shape)

    def __call__(self) -> torch.Tensor:
        """The next step's noise, (n, k) float32, by Box and Muller's transform."""
        step = torch.full_like(self.cells, self.step)
        self.step += 1
        words = philox(torch.stack([self.cells, self.draws, step, self.blocks], -1), self.key)
        # The middle of each of 2^32 cells of (0, 1): the logarithm never sees 0.
        uniform = (words.double() + 0.5) / 2.0**32
        radius = torch.sqrt(-2.0 * torch.log(uniform[..., :2]))
        angle = 2.0 * math.pi * uniform[..., 2:]
        normal = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
        return normal.flatten(1)[:, : self.k].float()
