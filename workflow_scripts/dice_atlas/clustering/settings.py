"""Settings of the clusters; nothing heavy is imported, so that every environment can read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Cells from which on `auto` is igraph: modularities are the same or up to 0.8 % better than those
# of leidenalg, in a tenth of the time (10,000 made cells, resolutions from 0.05 to 2).
MANY_CELLS = 10_000


# Package for clusters that are made many times only to be measured: stability, metrics.
FAST = "igraph"


def leiden_package(flavor: str, n_cells: int) -> str:
    """The package that clusters so many cells, leidenalg or igraph, where the config says auto."""
    if flavor == "auto":
        return FAST if n_cells >= MANY_CELLS else "leidenalg"
    return flavor


@dataclass(frozen=True)
class ClusterSettings:
    """Section `cluster` of the config.

    Attributes
    ----------
    embedding : dice, harmony or pca.
    resolutions : of Leiden, all are tried.
    n_neighbors : of the graph, the cell itself counted.
    flavor : leidenalg, igraph or auto, see `leiden_package`.
    choose : the resolution: reference, stability, a number, or auto (by labels if there are some).
    exact_up_to : cells up to which neighbours are exact (None: see `Neighbors`).
    """

    embedding: str
    resolutions: tuple[float, ...]
    n_neighbors: int
    flavor: str
    choose: str | float = "auto"
    exact_up_to: int | None = None

    @classmethod
    def from_config(cls, cluster: Mapping[str, Any]) -> "ClusterSettings":
        """Settings from the `cluster` section of the config."""
        return cls(
            cluster["embedding"],
            tuple(cluster["resolutions"]),
            cluster["n_neighbors"],
            cluster["flavor"],
            cluster["choose"],
            cluster["exact_up_to"],
        )
