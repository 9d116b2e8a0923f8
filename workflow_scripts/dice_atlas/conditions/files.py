"""The tables of a comparison as the report reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.tables import read_text_table

TEXTS = ("condition", "cell_type", "gene", "weighting", "paired", "reason", "finding")


@dataclass(frozen=True)
class Conditions:
    """The tables of the comparison (workflow_scripts/README.md), and its settings."""

    settings: CompareSettings
    genes: pd.DataFrame
    shares: pd.DataFrame
    types: pd.DataFrame

    @property
    def pairs(self) -> list[str]:
        """The conditions that are compared with the baseline."""
        return list(dict.fromkeys(self.types["condition"]))


def read_conditions(paths: Sequence[str | Path], settings: CompareSettings) -> Conditions:
    """The tables genes.tsv.gz, composition.tsv and types.tsv."""
    tables = []
    for path in paths:
        header = pd.read_csv(path, sep="\t", nrows=0).columns
        numbers = [c for c in header if c not in TEXTS and not c.startswith("holds_")]
        tables.append(read_text_table(path, *numbers))
    return Conditions(settings, *tables)
