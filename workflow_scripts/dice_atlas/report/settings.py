"""Settings of the run that the report is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.synthesis.settings import AugmentSettings
from dice_atlas.transfer.settings import (
    AnchorSettings,
    CallSettings,
    ReductionSettings,
    VoterSettings,
    WeightSettings,
)


@dataclass(frozen=True)
class RunSettings:
    """Settings of the stages, each in the stage's own type; colours that the user chose."""

    batch: BatchSettings
    denoise: DenoiseSettings
    voters: VoterSettings
    reduction: ReductionSettings
    anchors: AnchorSettings
    weights: WeightSettings
    calls: CallSettings
    cluster: ClusterSettings
    augment: AugmentSettings
    palette: Mapping[str, str]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RunSettings":
        """Settings from the validated config of the run."""
        annotate = config["annotate"]
        return cls(
            BatchSettings.from_config(config["batch"]),
            DenoiseSettings.from_config(config["denoise"]),
            VoterSettings.from_config(annotate),
            ReductionSettings.from_config(annotate),
            AnchorSettings.from_config(annotate),
            WeightSettings.from_config(annotate),
            CallSettings.from_config(annotate),
            ClusterSettings.from_config(config["cluster"]),
            AugmentSettings.from_config(config["augment"]),
            config["figures"]["palette"],
        )
