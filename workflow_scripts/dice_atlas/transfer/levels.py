"""Labels joined after the transfer: renamed ones, and levels of them from coarse to fine.

Both add up scores: that of a coarse label is the sum over its children. What was trained and found
before keeps the labels that the reference gives.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dice_atlas.names import SCORE, UNASSIGNED, split_set
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.calls import NO_ANCHOR, call, read_annotation
from dice_atlas.transfer.labels import score_columns, winners
from dice_atlas.transfer.settings import CallSettings

LEVEL = "level_"  # begins the columns of label_levels.tsv
# Columns of a coarse level in calls.tsv.gz, and what they are of the call at that level.
COARSE = {"at": "cell_type", "score_at": "score", "set_at": "prediction_set"}


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
        columns = [name for name in table if name.startswith(SCORE)]
        old = [name.removeprefix(SCORE) for name in columns]
        new = self.at(level or self.finest, old)
        if new == old:
            return table
        labels = list(dict.fromkeys(new))
        member = pd.Index(labels).get_indexer(new)[:, None] == np.arange(len(labels))
        scores = table[columns].to_numpy(dtype=float) @ member
        best = winners(scores, labels)
        same = best == self.at(level or self.finest, table["predicted"])
        merged = table.drop(columns=columns).assign(predicted=best)
        if "label" in merged:
            merged["label"] = self.at(level or self.finest, table["label"])
        if "score" in merged:
            merged["score"] = scores.max(axis=1, initial=0.0)
        for name in {"n_anchors", "synthetic"} & {*merged}:
            merged[name] = np.where(same, merged[name], 0)
        return pd.concat([merged, score_columns(scores, labels)], axis=1)

    def merged_fields(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table `label`, `score:<label>` of another tool with the names of the finest level."""
        wide = [name for name in table if name.startswith(SCORE)]
        renamed = table.drop(columns=wide).assign(label=self.renamed(table["label"]))
        if not wide:
            return renamed
        old = [name.removeprefix(SCORE) for name in wide]
        scores, names = self.merged_shares(table[wide].to_numpy(dtype=float), old)
        return pd.concat([renamed, score_columns(scores, names).set_index(table.index)], axis=1)

    def read_scores(self, path: str | Path) -> pd.DataFrame:
        """predictions.tsv.gz or calibration.tsv.gz, with the names of the finest level."""
        return self.merged(read_annotation(path))

    def merged_shares(
        self, shares: np.ndarray, labels: Iterable[str]
    ) -> tuple[np.ndarray, list[str]]:
        """Shares of labels (cells x labels) with the names of the finest level, and these names."""
        old, new = list(labels), self.renamed(labels)
        if new.tolist() == old:
            return shares, old
        names = list(dict.fromkeys(new.tolist()))
        member = pd.Index(names).get_indexer(new)[:, None] == np.arange(len(names))
        return shares @ member.astype(shares.dtype), names


def call_at_levels(
    predictions: pd.DataFrame,
    calibration: pd.DataFrame,
    settings: CallSettings,
    levels: Levels,
    without: str = NO_ANCHOR,
) -> pd.DataFrame:
    """What is said of each query cell, at each level.

    Parameters
    ----------
    predictions, calibration : of the query, see `calls.call`, with any names that `levels` knows.
    settings : of the calls. The risk and the coverage are asked for at each level.
    levels : of the labels.
    without : why a cell has no label if nothing speaks for one.

    Returns
    -------
    calls.tsv.gz of the finest level, and with more levels: `at_<level>`, `score_at_<level>`,
    `set_at_<level>` of each coarser one; `backoff` and `level`, see `backed_off`.
    """
    finest = call(levels.merged(predictions), levels.merged(calibration), settings, without)
    if levels.finest == 1:
        return finest
    for level in range(1, levels.finest):
        given = levels.merged(predictions, level), levels.merged(calibration, level)
        own = call(*given, settings, without)
        for column, name in COARSE.items():
            finest[f"{column}_{level}"] = own[name]
    return finest.join(backed_off(finest, levels))


def backed_off(calls: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """The finest label that covers each cell's prediction set.

    A cell keeps its label where this is its whole set. Else it gets the label that was called at
    the finest level of which one label covers the whole set; none where no level has one, or where
    the set is empty.

    Parameters
    ----------
    calls : of the finest level, with the labels of the others, see `call_at_levels`.
    levels : of the labels.

    Returns
    -------
    `backoff` (label or "unassigned") and `level` (0: none).
    """
    sets = [split_set(text) for text in calls["prediction_set"]]
    label = np.full(len(calls), UNASSIGNED, dtype=object)
    reached = np.zeros(len(calls), dtype=int)
    for level in range(1, levels.finest + 1):
        called = calls["cell_type" if level == levels.finest else f"at_{level}"]
        covered = [{*levels.at(level, own)} for own in sets]
        fits = [names == {name} for names, name in zip(covered, called, strict=True)]
        label[fits], reached[fits] = called[fits], level
    return pd.DataFrame({"backoff": label, "level": reached}, index=calls.index)


def held_out_calls(
    calibration: pd.DataFrame, settings: CallSettings, levels: Levels, folds: int = 5
) -> pd.DataFrame:
    """Calls of the held-out reference cells, each fifth by thresholds of the others.

    Parameters
    ----------
    calibration : calibration.tsv.gz.
    settings, levels : see `call_at_levels`.
    folds : parts; each has its share of every label.

    Returns
    -------
    As `call_at_levels`, with `label`; without rows where fewer cells than folds were held out.
    """
    held = calibration[calibration["role"] == "reference"]
    held = held.sort_values("label", kind="stable").reset_index(drop=True)
    fold, parts = np.arange(len(held)) % folds, []
    for part in range(folds) if len(held) >= folds else ():
        asked = held[fold == part].assign(role="query", n_anchors=0)
        scores = [name for name in held if name.startswith(SCORE)]
        asked["score"] = asked[scores].to_numpy(dtype=float).max(axis=1, initial=0.0)
        table = pd.concat([held[fold != part], asked], ignore_index=True)
        truth = asked["label"].to_numpy()
        asked = asked.reset_index(drop=True)
        parts.append(call_at_levels(asked, table, settings, levels).assign(label=truth))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
