"""Settings of the label transfer: section `annotate` of the config, by what they govern.

Nothing heavy is imported here, so that every environment can read them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dice_atlas.names import CONSENSUS, VOTERS

logger = logging.getLogger(__name__)

# Cells that the linear model is fitted on at the most; of more, each label gives its share.
MOST_CELLS = 20_000
# Neighbours of the anchor support where anchors get no scores (k.score: null).
SUPPORT = 30


@dataclass(frozen=True)
class AnchorSettings:
    """Settings of FindTransferAnchors, by Seurat's names with "_" for ".".

    `exact_up_to`: cells up to which neighbours are exact (None: see `Neighbors`).
    """

    k_anchor: int = 5
    k_filter: int | None = 200
    k_score: int | None = 30
    max_features: int = 200
    exact_up_to: int | None = None

    @property
    def support(self) -> int:
        """Neighbours among which a cell's anchor support is counted, scores or not."""
        return self.k_score or SUPPORT

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "AnchorSettings":
        """Settings from the `annotate` section of the config."""
        dotted = ("k.anchor", "k.filter", "k.score", "max.features", "exact_up_to")
        return cls(*(annotate[name] for name in dotted))

    def fitted(self, n_reference: int, n_query: int) -> "AnchorSettings":
        """Settings that so few cells allow, each change with a warning.

        Seurat stops where k.score or k.anchor reach the number of cells; here they are
        lowered to one below it, since small samples happen. k.filter is as in Seurat: off if
        it exceeds either number of cells.
        """
        most = max(min(n_reference, n_query) - 1, 1)
        changes: dict[str, Any] = {}
        for name in ("k_anchor", "k_score"):
            value = getattr(self, name)
            if value is not None and value > most:
                changes[name] = most
                logger.warning(
                    "%s is %d, but there are %d reference and %d query cells: %d is used",
                    name.replace("_", "."),
                    value,
                    n_reference,
                    n_query,
                    most,
                )
        if self.k_filter is not None and self.k_filter > min(n_reference, n_query):
            changes["k_filter"] = None
            logger.warning(
                "k.filter is %d, more than the %d reference or the %d query cells: anchors "
                "are not filtered",
                self.k_filter,
                n_reference,
                n_query,
            )
        return replace(self, **changes)


@dataclass(frozen=True)
class WeightSettings:
    """Settings of TransferData, by Seurat's names with "_" for ".".

    `seurat_version`: v3, v4 or v5 (as v4); `exact_up_to`: cells up to which neighbours are exact
    (None: see `Neighbors`).
    """

    k_weight: int = 50
    sd_weight: float = 1.0
    seurat_version: str = "v4"
    exact_up_to: int | None = None

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "WeightSettings":
        """Settings from the `annotate` section of the config."""
        names = ("k.weight", "sd.weight", "seurat_version", "exact_up_to")
        return cls(*(annotate[name] for name in names))


@dataclass(frozen=True)
class CallSettings:
    """When a cell gets its label, and the share of sets that shall hold the truth.

    Attributes
    ----------
    unassigned_below : least score of an assigned cell; None: by the risk.
    outside_below : least p value of an assigned cell; 0: no limit.
    coverage : of the prediction sets, 0 to 1.
    risk : share of the assigned cells whose label may be wrong, see `risk_threshold`.
    """

    unassigned_below: float | None
    outside_below: float
    coverage: float
    risk: float = 0.1

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "CallSettings":
        """Settings from the `annotate` section of the config."""
        names = ("unassigned_below", "outside_below", "coverage", "risk")
        return cls(*(annotate[name] for name in names))


@dataclass(frozen=True)
class LevelSettings:
    """How labels are joined after the transfer, see `relations.relate`.

    `rename`: names by the labels that they take the place of ("" : no label); `parents`: coarser
    label of each label, or a table label,parent.
    """

    rename: Mapping[str, str]
    parents: Mapping[str, str] | str

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "LevelSettings":
        """Settings from the `annotate` section of the config."""
        return cls(annotate["rename"], annotate["parents"])


@dataclass(frozen=True)
class ReductionSettings:
    """Settings of Seurat's own space: `method` (pcaproject or cca), `dims`, variable genes."""

    method: str
    dims: int
    nfeatures: int

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "ReductionSettings":
        """Settings from the `annotate` section of the config."""
        return cls(annotate["reduction"], annotate["dims"], annotate["nfeatures"])


@dataclass(frozen=True)
class VoterSettings:
    """The `voters`, those of the `consensus`, and whose labels are `final`.

    `per`: anchors are found for all query samples together, or for each `sample` by itself;
    `tables`: the voters whose labels come from another tool.
    """

    voters: tuple[str, ...]
    consensus: tuple[str, ...]
    final: str
    per: str
    tables: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, annotate: Mapping[str, Any]) -> "VoterSettings":
        """Settings from the `annotate` section of the config."""
        voters, consensus = annotate["voters"], annotate["consensus"]
        tables = tuple(voter for voter in voters if voter not in VOTERS)
        return cls(tuple(voters), tuple(consensus), annotate["final"], annotate["per"], tables)

    @property
    def all_calls(self) -> tuple[str, ...]:
        """All whose labels there are: the voters, and the consensus where it is the final one."""
        return self.voters + ((CONSENSUS,) if self.final == CONSENSUS else ())
