"""Put the benchmarks' tables (docs/benchmarks/*.tsv) into docs/benchmarks.md, by `make bench`."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).resolve().parent
# The paper's own gains over PCA, setups 1 to 4.
PAPER = {"silhouette": (0.12, 0.12, 0.12, 0.06), "clisi": (-0.10, -0.10, -0.14, -0.08)}
# In the names of samplers.tsv.
PRIORS = ("fast prior", "paper's prior")
KINDS = (
    "Gibbs, annealed", "Gibbs, annealed, forgotten iterations skipped", "Gibbs, constant rho",
    "exact mean",
)  # fmt: skip
# Coverage of the prediction sets that the page shows, the default of annotate.coverage.
ASKED = 0.9


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table1(table: pd.DataFrame) -> str:
    """Mean gain over PCA by setup and metric, and the share of Bayes' gain; the paper's beside."""
    methods = [name for name in dict.fromkeys(table["method"]) if name != "PCA"]
    rows = []
    for setup, part in table.groupby("setup"):
        for metric, title in (("silhouette", "silhouette ↑"), ("clisi", "cLISI ↓")):
            values = part.pivot(index="seed", columns="method", values=metric)
            row = [str(setup), title, f"{values['PCA'].mean():.3f}"]
            row.append(f"{PAPER[metric][setup - 1]:+.2f}")
            for method in methods:
                both = values.dropna(subset=[method, "Bayes"])
                gain, whole = ((both[name] - both["PCA"]).mean() for name in (method, "Bayes"))
                share = "" if method == "Bayes" else f" ({gain / whole:.0%})"
                row.append(f"{gain:+.3f}{share}")
            rows.append(row)
    return markdown(["setup", "metric", "PCA", "paper's DICE", *methods], rows)


def samplers(table: pd.DataFrame) -> str:
    """Training, speed and error: the rows that are about neither a chain nor a prior's Gibbs."""
    table = table.assign(what=table["what"].str.strip())
    rows = [
        [row.what, f"{row.value:,.4g} {row.unit}".strip(), row.note]
        for row in table.fillna("").itertuples()
        if not row.what.startswith(("chain of", *PRIORS))
    ]
    return markdown(["measured", "value", "remark"], rows)


def chains(table: pd.DataFrame) -> str:
    """Short reverse chains against a long one."""
    values = table.set_index("what")["value"]
    found = dict.fromkeys(w.split(":")[0] for w in values.index if w.startswith("chain of"))
    measured = ("RMS distance of the means", "ratio of the variances")
    rows = [
        [name.removeprefix("chain of "), *(f"{values[f'{name}: {what}']:.3g}" for what in measured)]
        for name in found
    ]
    return markdown(["steps", *measured], rows)


def gibbs(table: pd.DataFrame) -> str:
    """The Gibbs sampler against the exact mean, by prior."""
    table = table.set_index("what")
    rows = []
    for prior in PRIORS:
        for kind in KINDS:
            name = f"{prior}: {kind}"
            time = table.loc[f"{name}: time"]
            distance = table["value"].get(f"{name}: distance of its mean from the exact one")
            rows.append(
                [prior, kind, f"{table.loc[f'{name}: evaluations per cell', 'value']:,.0f}",
                 f"{time['value']:.3g} s", "" if pd.isna(time["note"]) else time["note"],
                 "" if distance is None else f"{distance:.2f}"]
            )  # fmt: skip
    header = ["prior", "sampler", "evaluations per cell", "time", "of", "distance"]
    return markdown(header, rows)


def rho_sweep(table: pd.DataFrame) -> str:
    """Gain over PCA by rho, mean over seeds."""
    mean = table.groupby(["rho", "method"])[["silhouette", "clisi"]].mean().unstack()
    methods = ("DICE exact", "Bayes")
    rows = [
        [
            f"{rho:g}",
            *(f"{values[metric, m]:+.3f}" for metric in ("silhouette", "clisi") for m in methods),
        ]
        for rho, values in mean.iterrows()
    ]
    return markdown(
        ["rho", *(f"{metric}, {m}" for metric in ("silhouette", "cLISI") for m in methods)], rows
    )


def named(table: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> str:
    """Some columns of a table: their titles and number formats; nothing where there is no value."""

    def text(value: object, form: str) -> str:
        return "" if pd.isna(value) else form.format(value)

    rows = [
        [text(value, form) for value, (_, form) in zip(row, columns.values(), strict=True)]
        for row in table[list(columns)].itertuples(index=False)
    ]
    return markdown([title for title, _ in columns.values()], rows)


def transfer_pairs(table: pd.DataFrame) -> str:
    """Accuracy and macro F1 of each pair and method."""
    columns = {
        "pair": ("pair", "{}"), "method": ("method", "{}"), "accuracy": ("accuracy", "{:.3f}"),
        "macro_f1": ("macro F1", "{:.3f}"), "coverage": ("coverage", "{:.3f}"),
        "p_below_0.01": ("p < 0.01", "{:.3f}"), "p_below_0.05": ("p < 0.05", "{:.3f}"),
    }  # fmt: skip
    return named(table, columns)


def transfer_speed(table: pd.DataFrame) -> str:
    """Seconds, memory and accuracy by number of cells."""
    columns = {
        "method": ("method", "{}"), "cells": ("cells", "{:,.0f}"),
        "anchors_s": ("anchors, s", "{:.1f}"), "transfer_s": ("transfer, s", "{:.1f}"),
        "peak_mb": ("peak, MB", "{:,.0f}"), "input_mb": ("input, MB", "{:,.0f}"),
        "accuracy": ("accuracy", "{:.3f}"),
    }  # fmt: skip
    return named(table, columns)


def transfer_sets(table: pd.DataFrame) -> str:
    """Coverage and size of the prediction sets at the default coverage, mean over seeds."""
    columns = {
        "data": ("data", "{}"), "space": ("space", "{}"), "coverage": ("coverage", "{:.3f}"),
        "least_of_a_label": ("worst label", "{:.3f}"), "mean_distance": ("distance", "{:.3f}"),
        "set_size": ("set size", "{:.2f}"), "accuracy": ("accuracy", "{:.3f}"),
        "p_below_0.01": ("p < 0.01", "{:.3f}"), "p_below_0.05": ("p < 0.05", "{:.3f}"),
    }  # fmt: skip
    own = table[table["asked"] == ASKED]
    return named(own.groupby(["data", "space"], sort=False).mean().reset_index(), columns)


def transfer_left_out(table: pd.DataFrame) -> str:
    """Share unassigned of the cells of a type that the reference lacks, and of the others."""
    keys = ["data", "left_out", "cells"]
    measured = ["unassigned", "unassigned_others", "auroc", "background_auroc"]
    wide = table.pivot_table(index=keys, columns="space", values=measured, sort=False)
    wide.columns = [f"{what}, {space}" for what, space in wide.columns]
    columns = {
        "data": ("data", "{}"), "left_out": ("type left out", "{}"), "cells": ("cells", "{:,.0f}"),
        **{
            f"{what}, {space}": (f"{title}, {space}", "{:.2f}")
            for what, title in (("unassigned", "its cells"), ("unassigned_others", "others"))
            for space in ("pca", "dice")
        },
        "auroc, pca": ("AUROC, pca", "{:.2f}"), "auroc, dice": ("AUROC, dice", "{:.2f}"),
        "background_auroc, dice": ("AUROC, background", "{:.2f}"),
    }  # fmt: skip
    return named(wide.reset_index(), columns)


def report(table: pd.DataFrame) -> str:
    """Size and speed of the report's page."""
    columns = {
        "cells": ("cells", "{:,}"), "genes": ("genes in the page", "{:,}"),
        "page_mb": ("MB", "{:.1f}"), "ready_ms": ("ready, ms", "{:,}"),
        "zoom_ms": ("zoom, ms", "{:,}"), "gene_ms": ("colour by a gene, ms", "{:,}"),
        "selection_ms": ("select a type, ms", "{:,}"),
    }  # fmt: skip
    return named(table, columns)


# Blocks of the page: the file in docs/benchmarks and what is made of it.
BLOCKS = {
    "table1": ("table1", table1), "samplers": ("samplers", samplers),
    "chains": ("samplers", chains), "gibbs": ("samplers", gibbs),
    "rho_sweep": ("rho_sweep", rho_sweep), "transfer_pairs": ("transfer_pairs", transfer_pairs),
    "transfer_sets": ("transfer_sets", transfer_sets),
    "transfer_left_out": ("transfer_left_out", transfer_left_out),
    "transfer_speed": ("transfer_speed", transfer_speed), "report": ("report", report),
}  # fmt: skip


def replace_block(text: str, name: str, body: str) -> str:
    """The page with `body` between its markers `<name>: start` and `<name>: end`."""
    pattern = rf"(<!-- {name}: start -->\n).*?(<!-- {name}: end -->)"
    text, found = re.subn(pattern, lambda m: m[1] + body + "\n" + m[2], text, flags=re.S)
    if not found:
        sys.exit(f"there are no markers for {name}")
    return text


def rewrite(page: Path, bodies: Mapping[str, str]) -> None:
    """Put texts into a page, each between the markers of its name."""
    text = page.read_text()
    for name, body in bodies.items():
        text = replace_block(text, name, body)
    page.write_text(text)


def main() -> None:
    """Rewrite docs/benchmarks.md in place; tables without a file stay as they are."""
    sources = {name: DOCS / "benchmarks" / f"{file}.tsv" for name, (file, _) in BLOCKS.items()}
    rewrite(
        DOCS / "benchmarks.md",
        {
            name: make(pd.read_csv(sources[name], sep="\t"))
            for name, (_, make) in BLOCKS.items()
            if sources[name].exists()
        },
    )


if __name__ == "__main__":
    main()
