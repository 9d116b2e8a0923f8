"""Put the tables of tests/benchmarks/conditions.py into docs/conditions.md.

python docs/update_conditions.py
"""

from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, rewrite

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "conditions.md", DOCS / "benchmarks"
NAMES = {"label": "`label`", "certain": "`certain`", "expected": "`expected`"}


def read(part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of genes and of shares of a part."""
    table = pd.read_csv(FOLDER / f"conditions_{part}.tsv", sep="\t", dtype={"second": str})
    return table[table["kind"] == "genes"], table[table["kind"] == "share"]


def null(genes: pd.DataFrame, shares: pd.DataFrame) -> str:
    """False findings by what is compared."""
    rows = []
    for what, table in (("genes", genes[genes["reason"].isna()]), ("shares of types", shares)):
        by_split = table.groupby("split")["findings"].sum()
        rows.append(
            [
                what, str(len(by_split)), f"{table['tested'].sum():,.0f}",
                f"{table['findings'].sum() / table['tested'].sum():.2%}",
                f"{by_split.median():g}", f"{(by_split > 0).mean():.2f}",
            ]
        )  # fmt: skip
    head = ["what", "splits", "tests", "findings", "median per split", "splits with any"]
    return markdown(head, rows)


def groups(parts: list[tuple[str, pd.DataFrame]]) -> list[tuple[str, str, pd.DataFrame]]:
    """Rows of each source of labels and way to count."""
    return [
        (source, NAMES[name], table[table["weighting"] == name])
        for source, table in parts
        for name in NAMES
        if (table["weighting"] == name).any()
    ]


def planted(parts: list[tuple[str, pd.DataFrame]]) -> str:
    """Planted genes that were found, and false ones."""
    rows = []
    for source, name, table in groups(parts):
        own, others = table[table["planted"] > 0], table[table["planted"] == 0]
        aside = others["findings"].sum() / others["tested"].sum() if len(others) else None
        rows.append(
            [
                source, name, str(own["split"].nunique()),
                f"{own['found'].sum() / own['planted'].sum():.3f}",
                f"{own['false'].sum() / own['findings'].sum():.3f}",
                f"{own['estimate'].mean():.2f}", f"{own['error'].mean():.2f}",
                "" if aside is None else f"{aside:.2%}",
            ]
        )  # fmt: skip
    head = ["labels", "counted by", "splits", "found", "false", "log2 fold change", "error",
            "false in others"]  # fmt: skip
    return markdown(head, rows)


def types(genes: pd.DataFrame) -> str:
    """Planted genes by type, of transferred labels: found, and their estimate."""
    own = genes[genes["planted"] > 0].set_index(["cell_type", "weighting"])
    rows = [
        [name]
        + [f"{own.loc[(name, way), 'found'].mean():.0f}" for way in NAMES]
        + [f"{own.loc[(name, way), 'estimate'].mean():.2f}" for way in NAMES]
        for name in dict.fromkeys(own.index.get_level_values(0))
    ]
    heads = [f"{what}: {way}" for what in ("found of 100", "log2 fold change")
             for way in NAMES.values()]  # fmt: skip
    return markdown(["type", *heads], rows)


def shifts(parts: list[tuple[str, pd.DataFrame]]) -> str:
    """The estimated change of a share against the truth."""
    rows = []
    for source, name, table in groups(parts):
        own = table[table["planted"] > 0]
        held = (table["low"] < table["truth"]) & (table["high"] > table["truth"])
        rows.append(
            [
                source, name, f"{own['truth'].mean():.2f}", f"{own['estimate'].mean():.2f}",
                f"{(own['estimate'] - own['truth']).std():.2f}", f"{held.mean():.2f}",
                f"{own['findings'].mean():.2f}",
            ]
        )  # fmt: skip
    head = ["labels", "counted by", "truth", "mean estimate", "SD of the error", "interval holds",
            "findings"]  # fmt: skip
    return markdown(head, rows)


def main() -> None:
    """Rewrite docs/conditions.md in place."""
    own, other = read("planted"), read("predicted")
    bodies = {
        "null": null(*read("null")),
        "planted": planted([("authors", own[0]), ("pbmc4k", other[0])]),
        "types": types(other[0]),
        "shares": shifts([("authors", own[1]), ("pbmc4k", other[1])]),
    }
    rewrite(PAGE, bodies)


if __name__ == "__main__":
    main()
