"""Put the tables of docs/scale/ into docs/scale.md, by `make bench-scale`.

python docs/update_scale.py
"""

import textwrap
from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, named, replace_block

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "scale.md", DOCS / "scale"


def neighbors(table: pd.DataFrame) -> str:
    """Seconds and recall of both searches."""
    columns = {
        "points": ("points", "{:,.0f}"), "method": ("search", "{}"),
        "cpu_seconds": ("CPU seconds", "{:,.1f}"), "recall": ("recall", "{:.4f}"),
    }  # fmt: skip
    return named(table, columns)


def sizes(tables: dict[int, pd.DataFrame]) -> str:
    """CPU seconds of each rule's jobs, and memory of the largest, by number of cells.

    Beside it the memory that SLURM would be asked for, and how the seconds grow between the two
    largest numbers of cells.
    """
    costs = {n: table.set_index("rule")["cpu_seconds"] for n, table in tables.items()}
    last = sorted(tables)[-2:]
    rules = list(dict.fromkeys(rule for table in tables.values() for rule in table["rule"]))
    rows = []
    for rule in rules:
        row = [f"`{rule}`"]
        for table in tables.values():
            own = table[table["rule"] == rule]
            values = own[["cpu_seconds", "mib_largest", "mib_asked"]].to_numpy(dtype=float)
            row += ["" if pd.isna(v) else f"{v:,.0f}" for v in values[0]] if len(own) else [""] * 3
        ends = [costs[n].get(rule) for n in last]
        rows.append([*row, f"{ends[1] / ends[0]:.1f}" if len(last) == 2 and all(ends) else ""])
    sums = [
        (t["cpu_seconds"].sum(), t["mib_largest"].max(), t["mib_asked"].max())
        for t in tables.values()
    ]
    grown = f"{costs[last[-1]].sum() / costs[last[0]].sum():.1f}"
    rows.append(["all", *(f"{value:,.0f}" for own in sums for value in own), grown])
    head = [f"{n:,} cells: {what}" for n in tables for what in ("CPU s", "MiB", "asked")]
    growth = " / ".join(f"{n:,}" for n in reversed(last))
    return markdown(["rule", *head, f"CPU s: {growth} cells"], rows)


def verdict(tables: dict[int, pd.DataFrame]) -> str:
    """The page's first sentence."""
    told = [
        f"{n:,} cells took {table['cpu_seconds'].sum() / 60:.0f} CPU minutes, and "
        f"{table['mib_largest'].max() / 1024:.1f} GiB for the largest job"
        for n, table in tables.items()
    ]
    return textwrap.fill(f"From counts to atlas and report, {'; '.join(told)}.", 120)


def disk(table: pd.DataFrame) -> str:
    """MB on the disk, by what they hold."""
    wide = table.pivot(index="what", columns="cells", values="mb").loc[table["what"].unique()]
    wide.loc["all"] = wide.sum()
    rows = [[what, *(f"{mb:,.0f}" for mb in row)] for what, row in wide.iterrows()]
    return markdown(["MB on the disk", *(f"{n:,} cells" for n in wide.columns)], rows)


def agreement(table: pd.DataFrame) -> str:
    """How far the approximations agree with the exact run: alone, and with labels by sample."""
    order = list(dict.fromkeys(table["what"]))
    wide = table.pivot(index="what", columns="per", values="value").loc[order].reset_index()
    columns = {
        "what": (f"{table['cells'].iloc[0]:,} cells", "{}"),
        "all": ("approximations alone", "{:.4f}"),
        "sample": ("and `annotate.per: sample`", "{:.4f}"),
    }
    return named(wide.reindex(columns=list(columns)), columns)


def main() -> None:
    """Rewrite docs/scale.md in place; tables without a file stay as they are."""
    text = PAGE.read_text()
    if (FOLDER / "neighbors.tsv").exists():
        table = pd.read_csv(FOLDER / "neighbors.tsv", sep="\t")
        text = replace_block(text, "neighbors", neighbors(table))
    if (FOLDER / "agreement.tsv").exists():
        table = pd.read_csv(FOLDER / "agreement.tsv", sep="\t")
        text = replace_block(text, "agreement", agreement(table))
    if (FOLDER / "disk.tsv").exists():
        text = replace_block(text, "disk", disk(pd.read_csv(FOLDER / "disk.tsv", sep="\t")))
    measured = sorted(int(path.stem) for path in FOLDER.glob("*.tsv") if path.stem.isdigit())
    if measured:
        tables = {n: pd.read_csv(FOLDER / f"{n}.tsv", sep="\t") for n in measured}
        text = replace_block(text, "verdict", verdict(tables))
        text = replace_block(text, "sizes", sizes(tables))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
