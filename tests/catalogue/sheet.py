"""Sample sheet"""

from pathlib import Path

from dice_atlas.export.targets import require_fields
from dice_atlas.sheet import read_sheet, require_files
from dice_atlas.sheet_settings import (
    require_sets,
)

from catalogue import Entry

ORDER = 2
SCHEMA = Path(__file__).resolve().parents[2] / "config/schemas/samples.schema.json"
HEAD = "sample,path,role,batch"


def sheet(text):
    """Reads the sheet that a text or bytes say."""

    def make(folder):
        content = text if isinstance(text, bytes) else text.encode()
        (folder / "sheet.csv").write_bytes(content)
        return read_sheet("sheet.csv", SCHEMA)

    return make


def files(text):
    """Looks for the files that a sheet names."""

    def make(folder):
        require_files(sheet(text)(folder), "sheet.csv", (), "results/{sample}.h5ad")

    return make


def sets(text):
    """Takes a sheet for that of a benchmark."""

    def make(folder):
        require_sets(sheet(text)(folder), "sheet.csv", [])

    return make


ENTRIES = [
    Entry(
        "the sample sheet ... does not exist; set `samples` in the config",
        "The path in the config is wrong. It is relative to the folder of the run.",
        "Correct `samples` (of the target `benchmark`: `benchmark.samples`).",
        lambda folder: read_sheet("gone.csv", SCHEMA),
    ),
    Entry(
        "is an Excel or LibreOffice workbook, expected text",
        "The workbook itself was given.",
        "Save the sheet as csv, in Excel as 'CSV UTF-8'.",
        sheet(b"PK\x03\x04"),
    ),
    Entry(
        "is not UTF-8 text (seen the byte ...)",
        "The sheet was saved in an older encoding, and has a letter such as ö.",
        "Save it again, in Excel as 'CSV UTF-8'.",
        sheet(f"{HEAD}\nq,a,query,Köln\n".encode("latin-1")),
    ),
    Entry(
        "missing column(s) ...; expected columns separated by tabs, commas or semicolons",
        "A needed column is not there, or the separator is none of the three.",
        "Add the column; save the sheet as csv or tsv.",
        sheet("sample path role batch\n"),
    ),
    Entry(
        "values for ... columns; is the file cut off?",
        "A row is shorter than the header.",
        "Write a separator for an empty value, too.",
        sheet(f"{HEAD},labels\nq,a,query,A\n"),
    ),
    Entry(
        "values for ... columns; is the separator (...) inside a value?",
        "A row is longer than the header.",
        "Put a value that has the separator into quotes.",
        sheet(f"{HEAD}\nq,a,query,A,B\n"),
    ),
    Entry(
        "a quoted value is not closed in its line",
        "A quote is missing, or a value goes over two lines.",
        'Close the quote; write "" for a quote inside of quotes.',
        sheet(f'{HEAD}\nq,"a,query,A\n'),
    ),
    Entry(
        "column ... has no name",
        "A column has values, but nothing in the header.",
        "Give it a name, or empty it.",
        sheet("sample,,path,role,batch\nq,x,a,query,A\n"),
    ),
    Entry(
        "column ... takes it for a folder; give it another name",
        "A name such as `.` or `a/b` cannot be that of a column in an h5ad file.",
        "Rename the column.",
        sheet(f"{HEAD},.\n"),
    ),
    Entry(
        "are written by the workflow; rename them",
        "The atlas has columns of these names already.",
        "Rename the columns.",
        sheet(f"{HEAD},cell_type\n"),
    ),
    Entry(
        "the target export_cellxgene needs more columns of the sample sheet",
        "CELLxGENE asks for organism, assay, tissue and more of each sample.",
        "Add the columns; docs/handover.md has an example.",
        lambda folder: require_fields({"s": {}}),
    ),
    Entry(
        "column ...: is ... meant?",
        "A column has nearly the name of a known one.",
        "Correct it; if it is your own, give it another name.",
        sheet(f"{HEAD},min_gene\n"),
    ),
    Entry(
        "but Snakemake takes ... in a path for a wildcard",
        "A path has braces, which Snakemake cannot tell from its own.",
        "Rename the file or folder, or make a link (`ln -s`) without braces.",
        sheet(f"{HEAD}\nq,{{x}}.h5ad,query,A\n"),
    ),
    Entry(
        "stands twice; names must be unique",
        "Two rows have the same sample name.",
        "Rename one.",
        sheet(f"{HEAD}\nq,a,query,A\nq,b,query,A\n"),
    ),
    Entry(
        "samples ... and ...: cells are called <sample>_<barcode>",
        "A sample's name begins with another one's and `_`.",
        "Rename one of them as the message says.",
        sheet(f"{HEAD}\nq,a,query,A\nq_1,b,query,A\n"),
    ),
    Entry(
        "reference sample(s) ... have no labels but others have",
        "Labels can be transferred from all references or from none.",
        "Give labels for each reference, or for none. Single cells may have an empty label.",
        sheet(f"{HEAD},labels\nr,a.h5ad,reference,A,x\ns,b.h5ad,reference,A,\n"),
    ),
    Entry(
        "a column of the cells in the sample's file, but ... has none",
        "10x files and tables have no columns of cells.",
        "Give a csv or tsv file with the columns `barcode,label`.",
        sheet(f"{HEAD},labels\nr,a.csv,reference,A,cell_type\n"),
    ),
    Entry(
        "no such file: ...",
        "A file of the sheet is not there. Paths are relative to the sheet's folder.",
        "Correct the path.",
        files(f"{HEAD}\nq,gone.h5ad,query,A\n"),
    ),
    Entry(
        "is no sheet of a benchmark, in which every row has a set and labels",
        "The sheet is that of an atlas.",
        "Add the column `set`, and labels for every row.",
        sets(f"{HEAD}\nq,a.h5ad,query,A\n"),
    ),
]
