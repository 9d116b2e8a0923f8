"""Marker lists"""

import pandas as pd
from dice_atlas.marker_lists.genes import found_genes, gene_table
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.settings_files import (
    require_marker_lists,
)

from catalogue import Entry

ORDER = 5


def rows(*lines):
    """Reads a list of some rows."""

    def make(folder):
        (folder / "markers.csv").write_text("\n".join(["type,gene,sign", *lines]))
        return read_marker_list("markers.csv")

    return make


def of_another_species(folder):
    var = pd.DataFrame({"gene_id": [""]}, index=["Cd3d"])
    return found_genes(gene_table({"T cell": {"CD3D": 1}}, var), "markers.csv")


def headless(folder):
    (folder / "markers.csv").write_text("T cell,CD3D\n")
    return read_marker_list("markers.csv")


ENTRIES = [
    Entry(
        "annotate.markers: no such file: ...",
        "The path in the config is wrong. It is relative to the folder of the run.",
        "Correct `annotate.markers`.",
        lambda folder: require_marker_lists("none.csv"),
    ),
    Entry(
        "no column ... (seen: ...), expected a table (csv or tsv) with the columns type, gene",
        "The first line of the list is no header, or has other names.",
        "Name the columns `type` and `gene`.",
        headless,
    ),
    Entry(
        "stands twice for ..., expected each gene of a type once",
        "Two rows of the list are the same.",
        "Remove one of them.",
        rows("T cell,CD3D,+", "T cell,CD3D,+"),
    ),
    Entry(
        "is both + and - for ..., expected each gene of a type once",
        "Two rows of the list contradict each other.",
        "Remove one of them.",
        rows("T cell,CD3D,+", "T cell,CD3D,-"),
    ),
    Entry(
        "seen the sign ..., expected + or 1 for a gene that the type has, ...",
        "The column `sign` has another word.",
        "Write `+` or `-`; an empty field means `+`.",
        rows("T cell,CD3D,up"),
    ),
    Entry(
        "all genes of ... have the sign -, expected at least one that the type has (+)",
        "Genes that a type lacks do not say what it is.",
        "Add a gene that the type has.",
        rows("T cell,CD19,-"),
    ),
    Entry(
        "seen the type ..., expected a name that is not ...",
        "A type has no name, or one that the results cannot hold.",
        "Rename it.",
        rows("unassigned,CD3D,+"),
    ),
    Entry(
        "the types ... and ... differ in case alone, expected one spelling of a type",
        "A type is written in two ways.",
        "Correct one of them.",
        rows("T cell,CD3D,+", "t cell,CD3E,+"),
    ),
    Entry(
        "has ... fields and the header ..., expected as many; put a value ... into quotes",
        "A row of the list is shorter or longer than its header.",
        "Put a value that has the separator into quotes.",
        rows("T cell,CD3D"),
    ),
    Entry(
        "none of its ... genes (+) is in all samples ...; is the list of another species?",
        "The list names genes in another way than the data, or is of another species.",
        "Write symbols or Ensembl ids as in the data.",
        of_another_species,
    ),
]
