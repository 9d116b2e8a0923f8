"""Cell labels, from an obs column of the sample's file or from a table barcode,label."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dice_atlas.counts.formats import is_label_table
from dice_atlas.counts.readers import read_obs
from dice_atlas.counts.subset import column_text, keep_mask, parse_subset
from dice_atlas.errors import DAMAGED, InputError
from dice_atlas.names import SEPARATOR, UNASSIGNED

logger = logging.getLogger(__name__)

# How a missing label is written, by hand, by R and by pandas.
NO_LABEL = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "None", "NULL", "null"})


def read_labels(spec: str, source: str, barcodes: pd.Index, obs: pd.DataFrame) -> np.ndarray:
    """One label per cell, "" where a cell has none.

    Parameters
    ----------
    spec : the sheet's `labels` or `truth` as written: an obs column, or a table's path; "" = none.
    source : the file that the labels are read from (the sample's own for an obs column).
    barcodes : the cells that labels are wanted for.
    obs : the obs table of the sample's file, one row per barcode.

    Returns
    -------
    ndarray
        Plain strings (object), in the order of `barcodes`.

    Raises
    ------
    InputError
        The column, the file, its header or every barcode is missing, a barcode stands twice, no
        cell has a label, or a label is reserved ("unassigned") or has the separator of prediction
        sets ("|").
    """
    if not spec:
        return np.full(len(barcodes), "", dtype=object)
    if is_label_table(spec):
        table = read_label_table(source)
        require_match(table.index, barcodes, source)
        labels = table.reindex(barcodes).fillna("")
    else:
        labels = label_column(spec, source, obs)
    values = labels.to_numpy(object)
    n_labelled = int((values != "").sum())
    logger.info("%s: %d of %d cells have a label", source, n_labelled, len(values))
    if n_labelled == 0:
        raise InputError(
            f"{source}: none of the {len(values)} cells has a label in {spec!r}; expected at "
            "least one; leave the field of the sheet empty if there are none"
        )
    return values


def read_cell_labels(sample: str, spec: str, source: str, subset: str = "") -> pd.Series:
    """Labels of a sample by cell id `<sample>_<barcode>`, read without its counts.

    Parameters
    ----------
    sample, spec, source, subset : as in the sheet (`truth`, `truth_source` ...).

    Returns
    -------
    Series
        Labels ("" = none), index = cell ids. A table gives the cells it lists, QC-removed cells
        and cells outside of the subset included; an obs column those of the subset.

    Raises
    ------
    InputError
        See `read_labels`, but for tables that list none of the sample's barcodes.
    """
    if is_label_table(spec):
        labels = read_label_table(source)
    else:
        obs = read_obs(source, {spec, *(parse_subset(subset) if subset else ())})
        if subset:
            obs = obs[keep_mask(obs, subset, source)]
        labels = label_column(spec, source, obs)
    cells = pd.Index([f"{sample}_{barcode}" for barcode in labels.index], dtype=object)
    return pd.Series(labels.to_numpy(object), index=cells, name="label", dtype=object)


def label_column(column: str, source: str, obs: pd.DataFrame) -> pd.Series:
    """Labels of an obs column, "" for missing ones."""
    return clean(column_text(obs, column, source), f"{source}, obs column {column!r}")


def read_label_table(path: str | Path) -> pd.Series:
    """A csv or tsv(.gz) with the columns barcode and label, as labels by barcode."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; correct `labels` or `truth` in the sample sheet")
    separator = "," if ".csv" in "".join(path.suffixes[-2:]).lower() else "\t"
    try:
        table = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, *DAMAGED) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected a table with the columns barcode and label"
        ) from error
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in ("barcode", "label") if name not in table]
    if missing:
        raise InputError(
            f"{path}: no column {' and '.join(missing)} (seen: {', '.join(table.columns)}), "
            "expected a header with barcode and label; fields are separated by commas in .csv, by "
            "tabs in .tsv"
        )
    labels = table.set_index(table["barcode"].str.strip())["label"].str.strip()
    repeated = labels.index[labels.index.duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: {len(repeated)} barcode(s) stand more than once (such as {repeated[0]!r}), "
            "expected one row per cell; remove the repetitions"
        )
    return clean(labels, str(path))


def clean(labels: pd.Series, where: str) -> pd.Series:
    """Missing labels as "".

    Raises
    ------
    InputError
        A label that the results could not hold: reserved, or with the separator of sets.
    """
    labels = labels.where(~labels.isin(NO_LABEL), "")
    for label in labels.unique():
        if SEPARATOR in label:
            raise InputError(
                f"{where}: the label {label!r} has a {SEPARATOR!r}, which joins the labels of a "
                "prediction set; expected labels without it; write '/' instead"
            )
        if label.lower() == UNASSIGNED:
            raise InputError(
                f"{where}: the label {label!r} is reserved for cells that get no label; leave the "
                "label of such cells empty, or give it another name"
            )
    return labels


def require_match(listed: pd.Index, barcodes: pd.Index, path: str) -> None:
    """Refuse a table without any of the sample's barcodes; log how many it has."""
    n_found = int(barcodes.isin(listed).sum())
    if n_found:
        if n_found < len(barcodes):
            logger.info("%s: lists %d of %d cells", path, n_found, len(barcodes))
        return
    seen, expected = ", ".join(listed[:3]) or "no row at all", ", ".join(barcodes[:3])
    bare = [{re.sub(r"-\d+$", "", name) for name in side} for side in (listed, barcodes)]
    hint = (
        "they differ in a suffix such as '-1': write the barcodes as in the counts"
        if bare[0] & bare[1]
        else "is it the table of another sample? Write the barcodes as in the counts"
    )
    raise InputError(
        f"{path}: none of its {len(listed)} barcodes (such as {seen}) is among the "
        f"{len(barcodes)} of the sample (such as {expected}); {hint}"
    )


def read_truth(settings: Mapping[str, Mapping[str, str]], obs: pd.DataFrame) -> pd.DataFrame:
    """Columns `cell` and `truth` of the cells that have a truth.

    Parameters
    ----------
    settings : per sample `truth`, `truth_source`, `subset`, as in the sample sheet.
    obs : index = cell names, column `sample`.

    Raises
    ------
    InputError
        A sample's file names none of its cells, or see `read_cell_labels`.
    """
    parts = [pd.Series(dtype=object)]
    for sample, row in settings.items():
        cells = obs.index[obs["sample"] == sample]
        labels = read_cell_labels(sample, row["truth"], row["truth_source"], row["subset"])
        if len(cells) and not cells.isin(labels.index).any():
            seen, expected = (
                index[0].removeprefix(f"{sample}_") if len(index) else "no row at all"
                for index in (labels.index, cells)
            )
            raise InputError(
                f"{row['truth_source']}: none of its {len(labels)} barcodes (such as {seen}) is "
                f"among the {len(cells)} cells of sample {sample!r} (such as {expected}); write "
                "the barcodes as in the counts, or leave the column truth empty"
            )
        parts.append(labels[labels.index.isin(cells) & (labels != "")])
        if len(parts[-1]) < len(cells) / 2:
            logger.warning(
                "%s: a truth for %d of the %d cells of sample %s only; %d of its %d barcodes are "
                "not among them",
                row["truth_source"],
                len(parts[-1]),
                len(cells),
                sample,
                (~labels.index.isin(cells)).sum(),
                len(labels),
            )
    return pd.concat(parts).rename_axis("cell").rename("truth").reset_index()
