"""What labels are worth at each level: of held-out reference cells, and of the query's truth."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dice_atlas.names import UNASSIGNED, split_set
from dice_atlas.transfer.level_calls import held_out_calls
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import scored_labels
from dice_atlas.transfer.settings import CallSettings

HELD_OUT, QUERY, BACKOFF = "held out", "query", "back-off"
COLUMNS = (
    "cells", "n_cells", "level", "labels", "labelled", "right", "coverage", "set_size", "reached",
)  # fmt: skip


def level_table(
    calls: pd.DataFrame,
    calibration: pd.DataFrame,
    truth: pd.DataFrame,
    settings: CallSettings,
    levels: Levels,
) -> pd.DataFrame:
    """Labels and prediction sets at each level (levels.tsv).

    Parameters
    ----------
    calls : calls.tsv.gz with levels.
    calibration : calibration.tsv.gz of the same voter.
    truth : `cell`, `truth` of query cells; without columns if none is known.
    settings : of the calls; held-out cells are called by them.
    levels : of the labels.

    Returns
    -------
    Of the held-out cells (each fifth judged by the others), then of the query, a row per level and
    one of the back-off: `labels` (number), shares of cells that are `labelled`, of these `right`,
    of sets with the truth (`coverage`), mean `set_size`, share of cells whose back-off is of this
    level (`reached`). What needs a truth is NaN, or that of the query cells that have one.
    """
    held = held_out_calls(calibration, settings, levels)
    labels = scored_labels(calibration)
    rows = list(level_rows(HELD_OUT, held, held["label"], labels, levels)) if len(held) else []
    known = pd.Series(dtype=object)
    if len(truth):
        known = truth.set_index("cell")["truth"]
    own = known.reindex(calls["cell"]).fillna("").reset_index(drop=True)
    rows += level_rows(QUERY, calls.reset_index(drop=True), own, labels, levels)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def level_rows(
    kind: str, calls: pd.DataFrame, truth: pd.Series, labels: Sequence[str], levels: Levels
) -> Iterator[dict[str, object]]:
    """Rows of `level_table` for one kind of cells.

    Parameters
    ----------
    kind : of the cells.
    calls, truth : of the cells; the truth is "" where it is not known.
    labels : that a cell can have.
    levels : of the labels.
    """
    reached = calls["level"].astype(int).to_numpy()
    of_level = {n: np.array(levels.at(n, truth), dtype=object) for n in range(1, levels.finest + 1)}
    known = of_level[levels.finest] != ""
    for level, true in of_level.items():
        at_finest = level == levels.finest
        called = calls["cell_type" if at_finest else f"at_{level}"].to_numpy(dtype=object)
        text = calls["prediction_set" if at_finest else f"set_at_{level}"]
        sets = [split_set(own) for own in text]
        holds = np.array([name in own for name, own in zip(true, sets, strict=True)], dtype=bool)
        yield {
            "cells": kind, "n_cells": len(calls), "level": str(level),
            "labels": len({*levels.at(level, labels)}),
            "labelled": share(called != UNASSIGNED),
            "right": share((called == true)[known & (called != UNASSIGNED)]),
            "coverage": share(holds[known]), "set_size": share([len(own) for own in sets]),
            "reached": share(reached == level),
        }  # fmt: skip
    backed = calls["backoff"].to_numpy(dtype=object)
    own_level = [of_level[max(level, 1)][i] for i, level in enumerate(reached)]
    right = (backed == np.array(own_level, dtype=object))[known & (reached > 0)]
    yield {
        "cells": kind, "n_cells": len(calls), "level": BACKOFF,
        "labelled": share(reached > 0), "right": share(right),
        "reached": share((reached > 0) & (reached < levels.finest)),
    }  # fmt: skip


def share(values: object) -> float:
    """Mean of values; NaN of none."""
    found = np.asarray(values, dtype=float)
    return float(found.mean()) if found.size else np.nan
