"""Settings of the atlas's file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dice_atlas.transfer.settings import VoterSettings


@dataclass(frozen=True)
class Limits:
    """Numbers of cells above which a run approximates.

    Attributes
    ----------
    graph, transfer : up to which neighbours are exact.
    sketch : cells that metrics of an embedding look at.
    """

    graph: int
    transfer: int
    sketch: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Limits":
        """From the validated config."""
        graph, transfer = config["cluster"]["exact_up_to"], config["annotate"]["exact_up_to"]
        return cls(graph, transfer, config["scale"]["sketch"])


@dataclass(frozen=True)
class AtlasSettings:
    """What the columns of the atlas depend on.

    Attributes
    ----------
    voters : of the labels.
    coverage : of the sets of labels, 0 to 1.
    ontology : Cell Ontology ids of labels, by hand.
    limits : above which the run approximated.
    palette : colours of some labels.
    """

    voters: VoterSettings
    coverage: float
    ontology: Mapping[str, str]
    limits: Limits
    palette: Mapping[str, str]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "AtlasSettings":
        """From the validated config."""
        annotate, limits = config["annotate"], Limits.from_config(config)
        voters = VoterSettings.from_config(annotate)
        palette = config["figures"]["palette"]
        return cls(voters, annotate["coverage"], annotate["ontology"], limits, palette)
