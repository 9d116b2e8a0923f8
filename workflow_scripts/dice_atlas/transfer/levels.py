"""Labels joined after the transfer: renamed ones, and levels of them from coarse to fine.

Both add up scores: that of a coarse label is the sum over its children. What was trained and found
before keeps the labels that the reference gives.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dice_atlas.tables import read_text_table
from dice_atlas.transfer.scores import (
    read_annotation,
    score_columns,
    score_names,
    scored_labels,
    winners,
)

LEVEL = "level_"  # begins the columns of label_levels.tsv


@dataclass(frozen=True)
class Levels:
    """Names of labels at each level; without any, labels stay as they are.

    Attributes
    ----------
    names : by level, 1 (coarsest) first: the name of each label that a table knows.
    """

    names: tuple[Mapping[str, str], ...] = ({},)

    @classmethod
    def read(cls, paths: Sequence[str | Path]) -> "Levels":
        """From label_levels.tsv; no path: labels stay as they are."""
        if not paths:
            return cls()
        table = read_text_table(paths[0]).set_index("label")
        return cls(tuple(table[name].to_dict() for name in table))

    @property
    def finest(self) -> int:
        """Number of the finest level."""
        return len(self.names)

    def at(self, level: int, labels: Iterable[str]) -> list[str]:
        """Names of labels at a level."""
        of_level = self.names[level - 1]
        return [of_level.get(label, label) for label in labels]

    def renamed(self, labels: Iterable[str]) -> np.ndarray:
        """Names of labels at the finest level."""
        return np.array(self.at(self.finest, map(str, labels)), dtype=object)

    def merged(self, table: pd.DataFrame, level: int | None = None) -> pd.DataFrame:
        """A table of scores (predictions or calibration) with the names of a level, None: finest.

        Numbers of anchors and parts of synthetic cells are those of the label that was best before;
        they are 0 where another one is best now.
        """
        columns, level = score_names(table), level or self.finest
        old = scored_labels(table)
        if self.at(level, old) == old:
            return table
        scores, labels = self.summed(table[columns].to_numpy(dtype=float), old, level)
        best = winners(scores, labels)
        same = best == self.at(level, table["predicted"])
        merged = table.drop(columns=columns).assign(predicted=best)
        if "label" in merged:
            merged["label"] = self.at(level, table["label"])
        if "score" in merged:
            merged["score"] = scores.max(axis=1, initial=0.0)
        for name in {"n_anchors", "synthetic"} & {*merged}:
            merged[name] = np.where(same, merged[name], 0)
        return pd.concat([merged, score_columns(scores, labels)], axis=1)

    def merged_fields(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table `label`, `score:<label>` of another tool with the names of the finest level."""
        wide = score_names(table)
        renamed = table.drop(columns=wide).assign(label=self.renamed(table["label"]))
        if not wide:
            return renamed
        scores, names = self.merged_shares(table[wide].to_numpy(dtype=float), scored_labels(table))
        return pd.concat([renamed, score_columns(scores, names).set_index(table.index)], axis=1)

    def read_scores(self, path: str | Path) -> pd.DataFrame:
        """predictions.tsv.gz or calibration.tsv.gz, with the names of the finest level."""
        return self.merged(read_annotation(path))

    def merged_shares(
        self, shares: np.ndarray, labels: Iterable[str]
    ) -> tuple[np.ndarray, list[str]]:
        """Shares of labels (cells x labels) with the names of the finest level, and these names."""
        old = list(map(str, labels))
        if self.at(self.finest, old) == old:
            return shares, old
        return self.summed(shares, old, self.finest)

    def summed(
        self, values: np.ndarray, labels: Sequence[str], level: int
    ) -> tuple[np.ndarray, list[str]]:
        """Values of labels (cells x labels) added up by the names of a level, and these names."""
        new = self.at(level, labels)
        names = list(dict.fromkeys(new))
        member = pd.Index(names).get_indexer(new)[:, None] == np.arange(len(names))
        return values @ member.astype(values.dtype), names
