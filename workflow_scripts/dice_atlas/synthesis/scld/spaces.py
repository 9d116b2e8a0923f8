"""The spaces that SCLD works in: expression per cell, logged or not, and back to counts.

The paper does not name its space. `unlogged_20000` is that of scGAN (Marouf et al. 2020), whose
figures the paper compares with, and the only one in which a forest takes decoded training cells
for real ones; `log1p` is the space of the rest of this workflow.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dice_atlas.numerics.scaling import log1p_normalize
from dice_atlas.synthesis.counts import cell_generator

LAWS = ("multinomial", "poisson")


@dataclass(frozen=True)
class Space:
    """Expression of cells that are all brought to one library size.

    Attributes
    ----------
    total : library size that every cell is brought to, in counts.
    logged : whether the expression is log(1 + x) of that.
    """

    total: float
    logged: bool

    def expression(self, counts: sp.csr_matrix, libraries: np.ndarray) -> np.ndarray:
        """Expression (n, g), dense float32, of counts.

        Parameters
        ----------
        counts : (n, g), of any subset of the genes.
        libraries : (n,), counts of each cell over ALL genes; a cell of 0 stays all zero.
        """
        if self.logged:
            return log1p_normalize(counts, libraries, self.total).toarray()
        factor = self.total / np.maximum(np.asarray(libraries, dtype=np.float64), 1.0)
        return (sp.diags_array(factor) @ counts).toarray().astype(np.float32)

    def shares(self, expression: np.ndarray, whole: bool = False) -> np.ndarray:
        """Share of each gene in the cell's library, (n, g) float64, 0 or more.

        A generator knows no sum: negative values count as 0, and the shares of a cell that exceed
        1 are divided by their sum.

        Parameters
        ----------
        expression : (n, g), in this space.
        whole : whether these are all genes of the cell, so that the shares sum to 1; else what is
            missing to 1 belongs to other genes. A cell without any expression stays all zero.
        """
        values = np.maximum(np.asarray(expression, dtype=np.float64), 0.0)
        if self.logged:
            # One gene cannot have more than the library; exp of more could overflow.
            values = np.expm1(np.minimum(values, np.log1p(self.total)))
        shares = values / self.total
        sums = shares.sum(axis=1, keepdims=True)
        divisor = np.where(sums > 0, sums, 1.0) if whole else np.maximum(sums, 1.0)
        return shares / divisor


# Name in `synthesis.space`: the space.
SPACES = {"unlogged_20000": Space(20_000.0, False), "log1p": Space(10_000.0, True)}


def counts_of_shares(
    shares: np.ndarray,
    libraries: np.ndarray,
    cells: np.ndarray,
    seed: int,
    law: str = "multinomial",
) -> sp.csr_matrix:
    """Integer counts of cells with given shares and libraries.

    Every cell has a generator of its own (`cell_generator`), so that its counts do not depend on
    which cells are drawn together.

    Parameters
    ----------
    shares : (n, g), see `Space.shares`.
    libraries : (n,) int, counts over all genes.
    cells : (n,) int, indices of the cells.
    seed : of the draws.
    law : `multinomial`, where counts and those of the other genes (the share that is missing to 1)
        sum to the library exactly, or `poisson`, where the library is only expected.

    Returns
    -------
    (n, g) CSR int32.

    Raises
    ------
    ValueError
        The law is none of `LAWS`.
    """
    if law not in LAWS:
        raise ValueError(f"law {law!r}, expected one of {', '.join(LAWS)}")
    rows = []
    for share, library, cell in zip(shares, libraries, cells, strict=True):
        generator = cell_generator(seed, int(cell))
        if law == "poisson":
            counts = generator.poisson(share * library)
        else:
            others = max(1.0 - share.sum(), 0.0)
            counts = generator.multinomial(int(library), np.append(share, others))[:-1]
        rows.append(sp.csr_matrix(counts.astype(np.int32)))
    if not rows:
        return sp.csr_matrix(shares.shape, dtype=np.int32)
    return sp.vstack(rows, format="csr")
