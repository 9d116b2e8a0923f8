"""Settings of the atlas's file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Numbers of cells above which a run approximates.

    Attributes
    ----------
    graph, transfer : up to which neighbours are exact.
    voters : who labels the query.
    per : the transfer labels `all` query samples together, or each `sample` by itself.
    sketch : cells that metrics of an embedding look at.
    """

    graph: int
    transfer: int
    voters: tuple[str, ...]
    per: str
    sketch: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Limits":
        """From the validated config."""
        annotate = config["annotate"]
        return cls(
            config["cluster"]["exact_up_to"],
            annotate["exact_up_to"],
            tuple(annotate["voters"]),
            annotate["per"],
            config["scale"]["sketch"],
        )


@dataclass(frozen=True)
class AtlasSettings:
    """What the columns of the atlas depend on.

    Attributes
    ----------
    final : voter whose labels become `cell_type`.
    coverage : of the sets of labels, 0 to 1.
    ontology : Cell Ontology ids of labels, by hand.
    limits : above which the run approximated.
    """

    final: str
    coverage: float
    ontology: Mapping[str, str]
    limits: Limits

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "AtlasSettings":
        """From the validated config."""
        annotate, limits = config["annotate"], Limits.from_config(config)
        return cls(annotate["final"], annotate["coverage"], annotate["ontology"], limits)
