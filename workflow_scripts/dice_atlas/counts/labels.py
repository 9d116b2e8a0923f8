"""Cell labels, from an obs column of the sample's file or from a table barcode,label."""

import csv
import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from dice_atlas.counts.formats import is_label_table, label_columns
from dice_atlas.counts.readers import read_obs
from dice_atlas.counts.subset import column_text, keep_mask, subset_columns
from dice_atlas.counts.tables import fields, separator_of, warn_of_cut
from dice_atlas.counts.text_files import text_of
from dice_atlas.errors import InputError, dead_link, reading
from dice_atlas.names import MISSING, SEPARATOR, UNASSIGNED
from dice_atlas.texts import hidden

logger = logging.getLogger(__name__)

# How a missing label is written, by hand, by R and by pandas.
# Shares of a sample's cells that a table should list: fewer is another sample's, or worth a look.
LEAST_LISTED, MOST_LISTED = 0.5, 0.9
# The capture that `cellranger aggr` and others write behind a barcode.
SUFFIX = re.compile(r"-\d+\Z")


def read_labels(
    spec: str, source: str, barcodes: pd.Index, obs: pd.DataFrame, suffix: str = ""
) -> np.ndarray:
    """One label per cell, "" where a cell has none.

    Parameters
    ----------
    spec : the sheet's `labels` or `truth` as written: an obs column, several from coarse to fine
        (the last is read), or a table's path; "" = none.
    source : the file that the labels are read from (the sample's own for an obs column).
    barcodes : the cells that labels are wanted for.
    obs : the obs table of the sample's file, one row per barcode.
    suffix : of the sample's barcodes in the table; "" = they are as in the counts.

    Returns
    -------
    ndarray
        Plain strings (object), in the order of `barcodes`.

    Raises
    ------
    InputError
        The column, the file or its header is missing, a barcode stands twice, the table lists less
        than half of the cells, no cell has a label, or see `clean`.
    """
    if not spec:
        return np.full(len(barcodes), "", dtype=object)
    if is_label_table(spec):
        labels = of_cells(read_label_table(source), barcodes, suffix, source).fillna("")
    else:
        labels = label_column(label_columns(spec)[-1], source, obs)
    values = labels.to_numpy(object)
    n_labelled = int((values != "").sum())
    few = n_labelled < len(values) / 2
    logger.log(
        logging.WARNING if few else logging.INFO,
        "%s: %d of %d cells have a label", source, n_labelled, len(values),
    )  # fmt: skip
    if n_labelled == 0:
        raise InputError(
            f"{source}: none of the {len(values)} cells has a label in {spec!r}; expected at "
            "least one; leave the field of the sheet empty if there are none"
        )
    return values


def read_parents(spec: str, source: str, obs: pd.DataFrame) -> np.ndarray:
    """The coarser labels of each cell, coarsest first, joined by "|" (plain strings).

    Parameters
    ----------
    spec, source, obs : see `read_labels`; of several columns.

    Raises
    ------
    InputError
        A column is missing, or see `clean`.
    """
    columns = [label_column(column, source, obs) for column in label_columns(spec)[:-1]]
    return pd.concat(columns, axis=1).agg(SEPARATOR.join, axis=1).to_numpy(object)


def read_truth(settings: Mapping[str, Mapping[str, str]], obs: pd.DataFrame) -> pd.DataFrame:
    """Columns `cell` and `truth` of the cells that have a truth.

    Parameters
    ----------
    settings : per sample `truth`, `truth_source`, `subset`, `suffix`, as in the sample sheet.
    obs : index = cell names, column `sample`.

    Raises
    ------
    InputError
        A sample's file names less than half of its cells, or see `read_labels`.
    """
    parts = [pd.Series(dtype=object)]
    for sample, row in settings.items():
        cells = obs.index[obs["sample"] == sample]
        barcodes = pd.Index([cell.removeprefix(f"{sample}_") for cell in cells], dtype=object)
        spec, source = row["truth"], row["truth_source"]
        if is_label_table(spec):
            labels = read_label_table(source)
        else:
            table = read_obs(source, {spec, *subset_columns(row["subset"])})
            if row["subset"]:
                table = table[keep_mask(table, row["subset"], source)]
            labels = label_column(spec, source, table)
        found = of_cells(labels, barcodes, row["suffix"], source).set_axis(cells)
        parts.append(found[found.notna() & (found != "")])
        if len(parts[-1]) < len(cells) / 2:
            logger.warning(
                "%s: a truth for %d of the %d cells of sample %s only",
                source, len(parts[-1]), len(cells), sample,
            )  # fmt: skip
    return pd.concat(parts).rename_axis("cell").rename("truth").reset_index()


def of_cells(labels: pd.Series, barcodes: pd.Index, suffix: str, path: str) -> pd.Series:
    """The labels of a sample's cells (index: barcodes), missing where the table lists none.

    A table of several captures numbers them behind the barcode, as the sample's own file does with
    its single one. Which number is the sample's cannot be known from barcodes that other captures
    have too: the sheet says it.

    Parameters
    ----------
    labels : by barcode, each once.
    barcodes : of the sample's cells.
    suffix : of the sample's barcodes in the table; "" = they are as in the counts.
    path : of the table, for messages.

    Raises
    ------
    InputError
        No row has the suffix, less than half of the cells are listed, or several captures of the
        table have half of them.
    """
    wanted = barcodes
    if suffix:
        mine = labels.index.str.endswith(suffix)
        if not mine.any():
            raise InputError(
                f"{path}: none of its {len(labels)} barcodes (such as {examples(labels.index)}) "
                f"ends in {suffix!r}, the `suffix` of the sample sheet; seen suffixes: "
                f"{', '.join(captures(labels.index)) or 'none'}"
            )
        labels = labels[mine].set_axis(labels.index[mine].str.removesuffix(suffix))
        wanted = bare(barcodes)
        labels = labels[~labels.index.duplicated()]
    found = labels.reindex(wanted).set_axis(barcodes)
    n_found = int(wanted.isin(labels.index).sum())
    if not suffix:
        require_one_capture(labels.index, barcodes, path)
    if n_found < LEAST_LISTED * len(barcodes):
        raise InputError(
            f"{path}: lists {n_found or 'none'} of the {len(barcodes)} cells (its barcodes are "
            f"such as {examples(labels.index)}; the sample's {examples(barcodes)}), expected at "
            f"least half; {likely_cause(labels.index, barcodes)}"
        )
    if n_found < len(barcodes):
        few = n_found < MOST_LISTED * len(barcodes)
        log = logger.warning if few else logger.info
        log("%s: lists %d of %d cells", path, n_found, len(barcodes))
    return found


def require_one_capture(listed: pd.Index, barcodes: pd.Index, path: str) -> None:
    """Refuse a table of several captures if more than one of them could be the sample's.

    Raises
    ------
    InputError
        Two captures or more have half of the sample's cells, or another one than that of the
        sample's own suffix has more.
    """
    known = captures(listed)
    own = captures(barcodes)
    if len(known) < 2 or len(own) > 1:
        return
    cells = set(bare(barcodes))
    share = {
        number: len(cells & set(bare(listed[listed.str.endswith(number)]))) / max(len(cells), 1)
        for number in known
    }
    likely = [number for number in known if share[number] >= LEAST_LISTED]
    mine = own[0] if own else ""
    if len(likely) > 1 or (likely and likely[0] != mine):
        said = ", ".join(f"{100 * share[number]:.0f} % with {number}" for number in known[:6])
        raise InputError(
            f"{path}: has the barcodes of {len(known)} captures ({', '.join(known[:6])}), the "
            f"sample's end in {mine or 'no number'}; of its cells it lists {said}; expected to "
            f"know which capture is the sample's; write its number into the column `suffix` of the "
            f"sample sheet, such as {(likely or known)[-1]}"
        )


def likely_cause(listed: pd.Index, barcodes: pd.Index) -> str:
    """Why a table may not list a sample's cells, and what to do."""
    shared = set(bare(listed)) & set(bare(barcodes))
    if len(shared) >= LEAST_LISTED * len(barcodes):
        seen, own = captures(listed), captures(barcodes)
        return (
            f"suffixes differ: the table has {', '.join(seen[:4]) or 'none'}, the sample "
            f"{', '.join(own[:4]) or 'none'}; write the barcodes as in the counts, or the table's "
            "suffix into the column `suffix` of the sample sheet"
        )
    return (
        "is it the table of another sample? Write the barcodes as in the counts; list a cell of "
        "unknown type with an empty label"
    )


def bare(names: pd.Index) -> pd.Index:
    """Barcodes without the number of a capture."""
    return pd.Index([SUFFIX.sub("", name) for name in names], dtype=object)


def captures(names: pd.Index) -> list[str]:
    """The numbers of captures behind barcodes, such as -1."""
    found = {match.group() for name in names if (match := SUFFIX.search(name))}
    return sorted(found, key=lambda suffix: int(suffix[1:]))


def examples(names: pd.Index) -> str:
    """Some of the names, for a message."""
    return ", ".join(names[:3]) or "no row at all"


def label_column(column: str, source: str, obs: pd.DataFrame) -> pd.Series:
    """Labels of an obs column, "" for missing ones."""
    return clean(column_text(obs, column, source), f"{source}, obs column {column!r}")


def read_label_table(path: str | Path) -> pd.Series:
    """A csv or tsv(.gz) with the columns barcode and label, as labels by barcode.

    Raises
    ------
    InputError
        A barcode stands twice, or see `read_fields` and `clean`.
    """
    table = read_fields(path, ("barcode", "label"), "`labels` or `truth` in the sample sheet")
    labels = pd.Series(table["label"].to_numpy(), index=table["barcode"].str.strip(), dtype=object)
    repeated = labels.index[labels.index.duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: {len(repeated)} barcode(s) stand more than once (such as {repeated[0]!r}), "
            "expected one row per cell; remove the repetitions"
        )
    return clean(labels.rename_axis(None), str(path))


def read_fields(path: str | Path, needed: Sequence[str], setting: str) -> pd.DataFrame:
    """A csv or tsv(.gz) with a header, all fields as they are written.

    Parameters
    ----------
    path : of the table.
    needed : columns that it must have.
    setting : what names the path, for the message.

    Raises
    ------
    InputError
        It is not there, cannot be read, lacks a column, or a line has too few or too many fields.
    """
    path = Path(path)
    if not path.is_file():
        if why := dead_link(str(path)):
            raise InputError(why)
        raise InputError(f"{path} does not exist; correct {setting}")
    with reading(path, f"a table with the columns {' and '.join(needed)}, as UTF-8 text"):
        text = text_of(path)
        with text.open() as file:
            before, header = header_of(file)
            separator = separator_of(header, header, path)
            columns = [name.strip() for name in fields(header, separator)]
            numbered = list(numbered_rows(file, separator, before, path))
        warn_of_cut(text)
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(
            f"{path}: no column {' and '.join(missing)} (seen: {', '.join(columns) or 'nothing'}), "
            f"expected a header with {' and '.join(needed)}, separated by commas, semicolons or "
            "tabs"
        )
    for number, row in numbered:
        if len(row) < len(columns) or any(row[len(columns) :]):
            raise InputError(
                f"{path}: line {number} has {len(row)} fields and the header {len(columns)}, "
                "expected as many; is the file cut off, or is the separator inside of a label?"
            )
    rows = [row[: len(columns)] for _, row in numbered]
    table = pd.DataFrame(rows, columns=pd.Index(columns, dtype=object), dtype=object)
    return table.loc[:, ~table.columns.duplicated()]


def header_of(file: TextIO) -> tuple[int, str]:
    """The first line that is not empty, "" where there is none, and its number."""
    for number, line in enumerate(iter(file.readline, ""), 1):
        if line.strip():
            return number, line
    return 0, ""


def numbered_rows(
    file: TextIO, separator: str, before: int, path: Path
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the number of their first line.

    Parameters
    ----------
    file : after its header.
    separator : of the fields.
    before : lines up to the header's end.
    path : for messages.

    Raises
    ------
    InputError
        A quote is not closed, or stands inside of a value.
    """
    reader = csv.reader(file, delimiter=separator, strict=True)
    while True:
        number = before + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}: quote not closed in line {number} ({error}), expected quotes around a "
                'whole value, and "" for a quote inside of it; correct the line'
            ) from None
        if any(row):
            yield number, row


def clean(labels: pd.Series, where: str) -> pd.Series:
    """Labels as the results hold them, whatever source they come from.

    Blanks around them are cut, runs of blanks become one, letters have one form (NFC), and the
    ways to write a missing label become "".

    Parameters
    ----------
    labels : as their source has them.
    where : the source, for messages.

    Raises
    ------
    InputError
        A label that the results could not hold: reserved, with the separator of sets, or with a
        control character.
    """
    known = {label: cleaned(label, where) for label in pd.unique(labels)}
    return labels.map(known).astype(object)


def cleaned_pairs(pairs: Mapping[str, str], where: str) -> dict[str, str]:
    """Pairs of labels, written as the results hold them."""
    return {cleaned(str(old), where): cleaned(str(new), where) for old, new in pairs.items()}


def cleaned(label: str, where: str) -> str:
    """One label; see `clean`."""
    text = re.sub(r"[ \u00a0\u2007\u202f]+", " ", unicodedata.normalize("NFC", label).strip())
    if text in MISSING:
        return ""
    if hidden(text):
        raise InputError(
            f"{where}: the label {label!r} has a control character, such as a line's end or a tab; "
            "expected printable text; remove it"
        )
    if SEPARATOR in text:
        raise InputError(
            f"{where}: the label {label!r} has a {SEPARATOR!r}, which joins the labels of a "
            "prediction set; expected labels without it; write '/' instead"
        )
    if text.lower() == UNASSIGNED:
        raise InputError(
            f"{where}: the label {label!r} is reserved for cells that get no label; leave the "
            "label of such cells empty, or give it another name"
        )
    return text
