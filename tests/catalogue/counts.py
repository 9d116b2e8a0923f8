"""Count files"""

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.counts.readers import read_counts
from dice_atlas.errors import reading

from catalogue import Entry

ORDER = 3


def h5ad(values, **parts):
    """Reads an h5ad of 30 cells whose values are made of whole numbers."""

    def make(folder):
        X = values(np.random.default_rng(0).poisson(2.0, (30, 20)).astype(np.float32))
        data = ad.AnnData(X, var=pd.DataFrame(index=[f"GENE{i}" for i in range(X.shape[1])]))
        for name, part in parts.items():
            getattr(data, name).update(part)
        data.write_h5ad(folder / "a.h5ad")
        return read_counts(folder / "a.h5ad")

    return make


def table(text):
    """Reads a table that a text says."""

    def make(folder):
        (folder / "a.csv").write_text(text)
        return read_counts(folder / "a.csv")

    return make


def damaged(folder):
    (folder / "a.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    return read_counts(folder / "a.h5ad")


def pattern(folder):
    (folder / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate pattern general\n1 1 0\n")
    for name in ("barcodes.tsv", "genes.tsv"):
        (folder / name).write_text("A\n")
    return read_counts(folder)


def link(folder):
    (folder / "matrix.mtx").symlink_to("gone")
    for name in ("barcodes.tsv", "genes.tsv"):
        (folder / name).write_text("A\n")
    return read_counts(folder)


def shut(folder):
    # Root may read every file.
    with reading(folder / "a.h5ad", "a file"):
        raise PermissionError(13, "Permission denied", "a.h5ad")


ENTRIES = [
    Entry(
        "no raw counts in ... these are probably log-normalised; expected whole numbers",
        "No matrix of the file holds counts: the values were normalised.",
        "Store the raw counts in `layers['counts']`, or give the original file.",
        h5ad(np.log1p),
    ),
    Entry(
        "the values are negative ...: these are scaled or batch-corrected values",
        "The values were scaled.",
        "Give the counts as they came from the sequencer.",
        h5ad(lambda X: X - 1.5),
    ),
    Entry(
        "values are nan (missing or infinite)",
        "Values are missing.",
        "Give the counts as they came from the sequencer.",
        h5ad(lambda X: np.where(X > 4, np.nan, X)),
    ),
    Entry(
        "is it cut off or damaged? Copy it again",
        "The file cannot be read to its end.",
        "Copy it again, and compare its size or checksum with the original's.",
        damaged,
    ),
    Entry(
        "seen numbers with a comma",
        "The table was written with decimal or thousands commas.",
        "Write it again without them.",
        table("gene;c1;c2\nA;1,5;2\nB;1;2\n"),
    ),
    Entry(
        "seen among the names of the cells, expected cells alone",
        "The table has a column about the genes, or a sum of the cells.",
        "Remove the column.",
        table("gene,c1,c2,total_counts\nA,1,2,3\n"),
    ),
    Entry(
        "... is the sum of the others, expected a column per cell",
        "A column of the table adds up the cells.",
        "Remove the column.",
        table("gene,c1,c2,all\n" + "".join(f"G{i},{i},1,{i + 1}\n" for i in range(20))),
    ),
    Entry(
        "cannot be read as text: ..., expected UTF-8 text",
        "The file is a workbook or an archive, has another encoding, or is damaged.",
        "Save it as csv in UTF-8, or copy it again.",
        table("PK\x03\x04"),
    ),
    Entry(
        "is of type pattern and says whether a gene was found, not how often",
        "The matrix.mtx has no values.",
        "Write it with its values.",
        pattern,
    ),
    Entry(
        "is a link that points nowhere",
        "A link was copied without the file that it points to (rsync, git-annex).",
        "Copy the file itself: `rsync -L`, or `git annex get`.",
        link,
    ),
    Entry(
        "read permission is missing",
        "The file or its folder may be read by others only.",
        "Give the permission (`chmod u+r`, of a folder `u+rx`), or ask its owner.",
        shut,
    ),
    Entry(
        "does not exist",
        "The file or folder is not there.",
        "Correct the path in the sheet.",
        lambda folder: read_counts(folder / "gone.h5ad"),
    ),
]
