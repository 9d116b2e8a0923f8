"""Calls at each level of the labels, and the finest label that covers a cell's prediction set."""

import numpy as np
import pandas as pd

from dice_atlas.names import UNASSIGNED, split_set
from dice_atlas.transfer.calls import NO_ANCHOR, call
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import top_scores
from dice_atlas.transfer.settings import CallSettings

# Columns of a coarse level in calls.tsv.gz, and what they are of the call at that level.
COARSE = {"at": "cell_type", "score_at": "score", "set_at": "prediction_set"}


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
        asked["score"] = top_scores(asked)
        table = pd.concat([held[fold != part], asked], ignore_index=True)
        truth = asked["label"].to_numpy()
        asked = asked.reset_index(drop=True)
        parts.append(call_at_levels(asked, table, settings, levels).assign(label=truth))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
