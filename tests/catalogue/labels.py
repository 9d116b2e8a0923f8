"""Label files"""

import pandas as pd
from dice_atlas.counts.labels import read_labels
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.relations import relate
from dice_atlas.transfer.settings import LevelSettings
from dice_atlas.transfer.tables import read_voter_table, rows_of_cells, vote

from catalogue import Entry

ORDER = 4
CELLS = pd.Index([f"{base}AAA-1" for base in "ACGT"], dtype=object)
OBS = pd.DataFrame({"kind": ["a|b"] * 4}, index=CELLS)


def table(text):
    """Reads labels of four cells, of a table that a text says."""

    def make(folder):
        (folder / "labels.csv").write_text(text)
        return read_labels("labels.csv", "labels.csv", CELLS, OBS)

    return make


def rows(*names):
    return "barcode,label\n" + "".join(f"{name},T cell\n" for name in names)


def voter(text, rename=None):
    """Lets a table of labels vote for two query samples of equal barcodes."""

    def make(folder):
        (folder / "labels.csv").write_text(text)
        table = read_voter_table("labels.csv", "annotate.tables.azimuth")
        cells = pd.DataFrame(
            {"sample": ["r", "q", "q2"], "role": ["reference", "query", "query"],
             "label": ["B cell", "", ""], "cell_key": ["a", "b", "c"]},
            index=["r_AAAA-1", "q_CAAA-1", "q2_CAAA-1"],
        )  # fmt: skip
        rows = rows_of_cells(table, cells, dict.fromkeys(["r", "q", "q2"], ""), "labels.csv")
        return vote(table, rows, cells, Levels(), "annotate.tables.azimuth")

    return make


def related(rename, parents, coarse=("", "")):
    """Relates the labels of two cells."""

    def make(folder):
        cells = pd.DataFrame({"sample": "r", "label": "naive", "label_parents": coarse})
        return relate(LevelSettings(rename, parents), cells, [])

    return make


ENTRIES = [
    Entry(
        "no column ... (seen: ...), expected a header with barcode and label",
        "The first line of the table is no header, or has other names.",
        "Name the columns `barcode` and `label`.",
        table("AAAA-1,T cell\n"),
    ),
    Entry(
        "quote not closed in line ...",
        "A quotation mark opens a value and does not close it.",
        'Close it in that line; inside of quotes write it twice (`""`).',
        table('barcode,label\nAAAA-1,"T cell\n'),
    ),
    Entry(
        "barcode(s) stand more than once",
        "A cell has two rows.",
        "Remove one of them.",
        table(rows("AAAA-1", "AAAA-1")),
    ),
    Entry(
        "suffixes differ: the table has ..., the sample ...",
        "The barcodes of the table end in another number than those of the counts.",
        "Write the table's number into the column `suffix` of the sheet, such as `-3`.",
        table(rows(*(cell.replace("-1", "-3") for cell in CELLS))),
    ),
    Entry(
        "is it the table of another sample?",
        "The table lists less than half of the sample's cells.",
        "Correct the path. List a cell of unknown type with an empty label.",
        table(rows("TTTT-1")),
    ),
    Entry(
        "none of the ... cells has a label in ...",
        "All labels are empty, or say that one is missing (NA).",
        "Leave the field of the sheet empty if there are no labels.",
        table(rows(*CELLS).replace("T cell", "NA")),
    ),
    Entry(
        "which joins the labels of a prediction set",
        "A label has a `|`... which the results use between labels.".replace(
            "`|`...", "vertical bar,"
        ),
        "Write `/` instead.",
        lambda folder: read_labels("kind", "a.h5ad", CELLS, OBS),
    ),
    Entry(
        "is reserved for cells that get no label",
        "A label reads `unassigned`.",
        "Leave the label of such cells empty.",
        table(rows(*CELLS).replace("T cell", "Unassigned")),
    ),
    Entry(
        "cell(s) stand more than once (such as ...), expected one row per cell; if they are of "
        "several samples, ...",
        "A table of `annotate.tables` has a barcode twice.",
        "Remove the repetition, or add a column `sample` with the names of the sheet.",
        voter("barcode,label\nCAAA-1,B cell\nCAAA-1,B cell\n"),
    ),
    Entry(
        "column score: seen ..., expected numbers from 0 to 1; ...",
        "Scores of a table of `annotate.tables` are on another scale, or are no numbers.",
        "Bring them to 0 to 1, or leave the column out.",
        voter("barcode,label,score\nCAAA-1,B cell,12\n"),
    ),
    Entry(
        "cells of the samples share barcodes (such as ...), expected to know whose each row is; "
        "...",
        "A table of `annotate.tables` has barcodes that two samples have.",
        "Add a column `sample` with the names of the sheet.",
        voter("barcode,label\nCAAA-1,B cell\n"),
    ),
    Entry(
        "annotate.tables.azimuth: the reference has no label ...; expected some of ...; ...",
        "Another tool names the types otherwise than the reference, or knows more of them.",
        "Give the reference's names in `annotate.rename`; an empty name is for other types.",
        voter("sample,barcode,label\nq,CAAA-1,b cells\n"),
    ),
    Entry(
        "levels of labels: each label has one coarser label, but",
        "A label belongs to two coarser ones, by the columns of `labels` or by `annotate.parents`.",
        "Correct the cells that the message names, or the setting.",
        related({}, {}, ("B cell", "T cell")),
    ),
    Entry(
        "levels of labels: ... is its own ancestor (...); ...",
        "Coarser labels lead back to the label.",
        "Correct `annotate.parents`, or the order of the columns of `labels`.",
        related({}, {"naive": "B", "B": "naive"}),
    ),
    Entry(
        "annotate.rename: ... is no label of the reference, the truth or a table; expected some of "
        "...",
        "A label is written otherwise there. The message lists names that are nearly equal.",
        "Write the label as the data have it.",
        related({"Naive": "B"}, {}),
    ),
    Entry(
        "annotate.rename: ... of the reference would have no name; ...",
        "An empty name is for labels of a truth or of a table.",
        "Give a name. To leave cells out of the reference, use `subset` of the sheet.",
        related({"naive": ""}, {}),
    ),
]
