"""Label files"""

import pandas as pd
from dice_atlas.counts.labels import read_labels

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
]
