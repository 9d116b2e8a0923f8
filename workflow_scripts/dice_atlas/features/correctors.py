"""The correctors of batches, each written once: title, settings, function; and the section `batch`.

Schema, correction and report ask this table. Nothing heavy is imported here: the Snakefile reads
this file for every job.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class CorrectorSettings(Protocol):
    """Settings of one corrector."""

    def described(self) -> str:
        """The settings in words, for the methods section."""
        ...


@dataclass(frozen=True)
class Corrector:
    """One method that moves cells in the space of the PCs.

    Attributes
    ----------
    title, citation : in the report's methods section.
    settings : its own settings, from the `batch` section of the config.
    function : reference of a function, see `correction.Correct`.
    """

    title: str
    citation: str
    settings: Callable[[Mapping[str, Any]], CorrectorSettings]
    function: str


@dataclass(frozen=True)
class HarmonySettings:
    """Harmony's: diversity penalty, width of the soft clusters, ridge penalty, most rounds.

    A ridge (`lambda`) of None is estimated per cluster.
    """

    theta: float
    sigma: float
    ridge: float | None
    max_iter: int

    @classmethod
    def from_config(cls, batch: Mapping[str, Any]) -> "HarmonySettings":
        """Settings from the `batch` section of the config."""
        return cls(*(batch[name] for name in ("theta", "sigma", "lambda", "max_iter")))

    def described(self) -> str:
        """See `CorrectorSettings`."""
        penalty = "estimated" if self.ridge is None else f"{self.ridge:g}"
        return (
            f"theta {self.theta:g}, sigma {self.sigma:g}, lambda {penalty}, at most "
            f"{self.max_iter} iterations"
        )


# Name in `batch.method`: corrector.
CORRECTORS: Mapping[str, Corrector] = {
    "harmony": Corrector(
        "Harmony",
        "Korsunsky et al. 2019",
        HarmonySettings.from_config,
        "dice_atlas.features.harmony:harmony",
    ),
}


@dataclass(frozen=True)
class BatchSettings:
    """Section `batch` of the config.

    Attributes
    ----------
    method : a key of `CORRECTORS`.
    keys : columns of the cells' obs to correct for.
    scope : within_role, joint, mapped or none.
    n_pcs : number of PCs.
    sigma : width of the soft clusters of the reference on which a query is mapped.
    own : settings of the corrector.
    """

    method: str
    keys: tuple[str, ...]
    scope: str
    n_pcs: int
    sigma: float
    own: CorrectorSettings

    @classmethod
    def from_config(cls, batch: Mapping[str, Any]) -> "BatchSettings":
        """Settings from the `batch` section of the config."""
        return cls(
            batch["method"],
            tuple(batch["keys"]),
            batch["scope"],
            batch["n_pcs"],
            batch["sigma"],
            CORRECTORS[batch["method"]].settings(batch),
        )

    @property
    def corrector(self) -> Corrector:
        """The method itself."""
        return CORRECTORS[self.method]
