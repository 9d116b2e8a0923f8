"""Labels of another tool as a voter: a table barcode,label with scores, if it has any."""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from dice_atlas.counts.labels import clean, of_cells, read_fields
from dice_atlas.errors import InputError
from dice_atlas.holdout import calibration_cells
from dice_atlas.names import SCORE
from dice_atlas.texts import with_near
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import (
    score_names,
    scored_labels,
    votes_calibration,
    votes_table,
    winners,
)

logger = logging.getLogger(__name__)

# Score of a label in a table without scores.
SURE = 0.9


def read_voter_table(path: str, setting: str) -> pd.DataFrame:
    """A table of labels: `barcode`, `label`, perhaps `sample`, `score` and `score:<label>`.

    Parameters
    ----------
    path : of the table.
    setting : what names it in the config, for messages.

    Returns
    -------
    Scores as numbers, all else as text without blanks around it.

    Raises
    ------
    InputError
        A column is missing, a cell stands twice, or a score is no number from 0 to 1.
    """
    table = read_fields(path, ("barcode", "label"), setting)
    table["label"] = clean(table["label"], path)
    for name in ("barcode", "sample"):
        if name in table:
            table[name] = table[name].str.strip()
    cells = table[[name for name in ("sample", "barcode") if name in table]]
    if (twice := cells.duplicated()).any():
        raise InputError(
            f"{path}: {int(twice.sum())} cell(s) stand more than once (such as "
            f"{' '.join(cells[twice].iloc[0])!r}), expected one row per cell; if they are of "
            "several samples, add a column `sample` with their names in the sheet"
        )
    wide = score_names(table)
    for name in [name for name in table if name == "score" or name in wide]:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = ~values.between(0, 1) & ((table[name] != "") | (name != "score"))
        if wrong.any():
            raise InputError(
                f"{path}, column {name}: seen {table[name][wrong].iloc[0]!r}, expected numbers "
                "from 0 to 1; leave the column out if its scores are on another scale"
            )
        table[name] = values
    return table


def labels_in(table: pd.DataFrame) -> set[str]:
    """All labels that a table names."""
    return {*table["label"], *scored_labels(table)} - {""}


def rows_of_cells(
    table: pd.DataFrame, cells: pd.DataFrame, suffixes: Mapping[str, str], path: str
) -> np.ndarray:
    """The table's row of each cell; -1 where it has none.

    A table may leave out samples of the reference. Of those it is taken to list a sample only where
    it lists half of its cells: barcodes of other samples may agree by chance.

    Parameters
    ----------
    table : see `read_voter_table`.
    cells : `sample` and `role`, index `<sample>_<barcode>`.
    suffixes : of the samples' barcodes in tables without a column `sample`, as in the sheet.
    path : of the table, for messages.

    Raises
    ------
    InputError
        Less than half of the cells of a query sample are listed (of none, it is left out, if the
        table names samples), or a row could be of two samples' cells.
    """
    rows = pd.Series(-1, index=cells.index)
    named = "sample" in table
    for sample, own in cells.groupby("sample", sort=False):
        part = table[table["sample"] == sample] if named else table
        if named and part.empty:
            level = logging.WARNING if (own["role"] == "query").any() else logging.INFO
            logger.log(level, "%s: has no cell of sample %s, which gets no label", path, sample)
            continue
        numbers = pd.Series(part.index.to_numpy(), index=pd.Index(part["barcode"], name=None))
        barcodes = pd.Index([name.removeprefix(f"{sample}_") for name in own.index], dtype=object)
        try:
            found = of_cells(numbers, barcodes, "" if named else suffixes[str(sample)], path)
        except InputError as error:
            if (own["role"] == "query").any():
                raise
            logger.info("reference sample %s is taken as not listed: %s", sample, error)
            continue
        rows[own.index] = found.fillna(-1).to_numpy(dtype=int)
    if (twice := rows[rows >= 0].duplicated(keep=False)).any():
        of_row = rows[rows >= 0][twice].sort_values(kind="stable").index[:2]
        raise InputError(
            f"{path}: {int(twice.sum())} cells of the samples share barcodes (such as "
            f"{' and '.join(of_row)}), expected to know whose each row is; add a column `sample` "
            "with the names of the sheet"
        )
    return rows.to_numpy()


def scores_of(table: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Scores of the reference's labels (rows x labels), 0 in rows without a label.

    Columns `score:<label>` are taken as they are. A single score is that of the row's label, 0.9
    where there is none; what it lacks to 1 is shared out over the other labels, none of which gets
    more than half of it.

    Parameters
    ----------
    table : see `read_voter_table`, with the names of the reference's labels.
    labels : of the reference.
    """
    wide = scored_labels(table)
    if wide:
        known = [label for label in wide if label in labels]
        if len(known) < len(wide):
            logger.info(
                "%d labels of the table are none of the reference: their scores are left out",
                len(wide) - len(known),
            )
        return table.reindex(columns=[SCORE + label for label in labels]).fillna(0).to_numpy(float)
    own = table["label"].to_numpy()[:, None] == np.array(labels, dtype=object)[None, :]
    score = table["score"] if "score" in table else pd.Series(np.nan, index=table.index)
    given = score.fillna(SURE).to_numpy(dtype=float)[:, None]
    rest = np.minimum((1 - given) / max(len(labels) - 1, 1), given / 2)
    return np.where(own, given, rest) * own.any(axis=1, keepdims=True)


def require_known(table: pd.DataFrame, labels: Sequence[str], setting: str) -> None:
    """Check that the reference has the labels of the table.

    Raises
    ------
    InputError
        It lacks one; the message has the reference's labels that are nearly equal.
    """
    unknown = sorted(set(table["label"]) - {"", *labels})
    if unknown:
        raise InputError(
            f"{setting}: the reference has no label "
            f"{', '.join(with_near(name, labels) for name in unknown)}; expected some of "
            f"{', '.join(map(repr, labels))}; give their names in the reference in "
            'annotate.rename, or "" for those that are none of its types'
        )


def vote(
    table: pd.DataFrame,
    rows: np.ndarray,
    cells: pd.DataFrame,
    levels: Levels,
    setting: str,
    listed: Collection[str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table's labels of the query, and of those held-out reference cells that it lists.

    Parameters
    ----------
    table, rows : see `read_voter_table` and `rows_of_cells`.
    cells : `sample`, `role`, `label` and `cell_key` of all cells.
    levels : new names of labels, of the reference and of the table.
    setting : what names the table, for messages.
    listed : see `holdout.calibration_cells`.

    Returns
    -------
    predictions.tsv.gz and calibration.tsv.gz, without numbers of anchors and without support; the
    latter has no row where the table lists no held-out cell.

    Raises
    ------
    InputError
        See `require_known`.
    """
    reference = np.flatnonzero(cells["role"] == "reference")
    query = np.flatnonzero(cells["role"] == "query")
    given = cells["label"].astype(str)
    truth = levels.renamed(given)
    labels = list(dict.fromkeys(truth[reference][truth[reference] != ""]))
    table = levels.merged_fields(table)
    require_known(table.iloc[np.unique(rows[rows >= 0])], labels, setting)
    scores = np.vstack([scores_of(table, labels), np.zeros(len(labels))])[rows]
    best = winners(scores, labels)
    of_reference = cells.iloc[reference]
    held = reference[calibration_cells(of_reference["cell_key"], of_reference["label"], listed)]
    held = held[best[held] != ""]
    if not held.size:
        logger.warning(
            "%s lists none of the held-out reference cells: no temperature can be fitted, and its "
            "scores are taken as they are", setting,
        )  # fmt: skip
    asked = np.concatenate([held, query]) if held.size else held
    logger.info("%d of %d query cells have a label", (best[query] != "").sum(), query.size)
    return (
        votes_table(cells.index[query], scores[query], labels),
        votes_calibration(cells.iloc[asked], held.size, truth[asked], scores[asked], labels),
    )
