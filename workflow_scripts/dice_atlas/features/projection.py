"""The latent space of an atlas: loadings with their scaling, and the latents of any cell."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from safetensors.numpy import load_file

from dice_atlas.errors import InputError, reading
from dice_atlas.features.card import require_match
from dice_atlas.files import atomic_path
from dice_atlas.numerics.scaling import Scaling, project_expression

FIELDS = ("loadings", "sd", "cap", "center", "singular_values")


@dataclass(frozen=True)
class LatentSpace:
    """Loadings V (genes x k) and what brings expression into their space.

    Attributes
    ----------
    genes
        Gene names, d.
    loadings
        V, d x k. Its columns are orthonormal unless genes are missing.
    scaling
        Per-gene statistics of the reference (d each).
    singular_values
        Of the reference; empty if unknown.
    missing_genes
        Genes of the reference that the cells at hand lack.
    """

    genes: np.ndarray
    loadings: np.ndarray
    scaling: Scaling
    singular_values: np.ndarray
    missing_genes: np.ndarray

    @property
    def k(self) -> int:
        """Number of latent dimensions."""
        return self.loadings.shape[1]

    @property
    def gram(self) -> np.ndarray:
        """V^T V over the genes that are there (k x k)."""
        return self.loadings.T @ self.loadings

    @property
    def orthonormal(self) -> bool:
        """Whether the loadings are orthonormal, so that DICE's exact mode holds."""
        return bool(np.allclose(self.gram, np.eye(self.k), atol=1e-5))

    def restricted_to(self, genes: pd.Index) -> "LatentSpace":
        """The same space on the given genes only, in their order.

        Raises
        ------
        ValueError
            A gene is not in the space.
        """
        position = pd.Index(self.genes).get_indexer(genes)
        if (position < 0).any():
            raise ValueError(f"{(position < 0).sum()} genes are not in the latent space")
        scaling = Scaling(*(getattr(self.scaling, n)[position] for n in ("sd", "cap", "center")))
        return replace(
            self,
            genes=self.genes[position],
            loadings=self.loadings[position],
            scaling=scaling,
            missing_genes=np.setdiff1d(self.genes, self.genes[position]),
        )


def least_squares_latents(expression: sp.csr_matrix, space: LatentSpace) -> np.ndarray:
    """Latents of cells by least squares: (V^T V)^-1 V^T x; V^T x with orthonormal loadings.

    Parameters
    ----------
    expression : cells x d, log-normalised, on the genes of the space.

    Returns
    -------
    cells x k.
    """
    latents = project_expression(expression, space.scaling, space.loadings)
    return latents if space.orthonormal else np.linalg.solve(space.gram, latents.T).T


def space_arrays(space: LatentSpace) -> dict[str, np.ndarray]:
    """The numeric arrays of a space, by the names of `FIELDS`."""
    parts = {**vars(space), **vars(space.scaling)}
    return {name: np.ascontiguousarray(parts[name], dtype=np.float64) for name in FIELDS}


def space_from_arrays(arrays: dict[str, np.ndarray], genes: np.ndarray) -> LatentSpace:
    """The inverse of `space_arrays`."""
    scaling = Scaling(arrays["sd"], arrays["cap"], arrays["center"])
    none = np.array([], dtype=str)
    return LatentSpace(genes, arrays["loadings"], scaling, arrays["singular_values"], none)


def save_space(space: LatentSpace, path: str | Path) -> None:
    """Write a space as npz, whole or not at all."""
    # Any: what is none of savez's own options is an array for numpy, a flag for its stubs.
    arrays: dict[str, Any] = {
        "genes": space.genes.astype(str), "k": space.k, **space_arrays(space)
    }  # fmt: skip
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def load_space(path: str | Path) -> LatentSpace:
    """Read a space written by `save_space`."""
    with np.load(path) as arrays:
        return space_from_arrays({name: arrays[name] for name in FIELDS}, arrays["genes"])


def load_saved_space(prior_path: str | Path) -> LatentSpace:
    """The latent space of a saved prior (prior.safetensors with card.json beside it).

    Raises
    ------
    InputError
        The files hold no latent space, or see `card.require_match`.
    """
    card = require_match(prior_path)
    with reading(prior_path, "the weights of a saved prior"):
        arrays = load_file(prior_path)
    absent = [name for name in FIELDS if f"space.{name}" not in arrays]
    if absent:
        raise InputError(
            f"{prior_path} is not a saved prior of dice-atlas (no {', '.join(absent)}); "
            "prior.path must be the folder results/<atlas>/prior of an earlier run"
        )
    arrays = {name: arrays[f"space.{name}"] for name in FIELDS}
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise InputError(f"{prior_path}: its latent space holds missing or infinite values")
    return space_from_arrays(arrays, np.array(card["genes"], dtype=str))
