"""Put the benchmarks' tables (docs/benchmarks/*.tsv) into docs/benchmarks.md, by `make bench`."""

import re
import sys
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).resolve().parent
# The paper's own gains over PCA, setups 1 to 4.
PAPER = {"silhouette": (0.12, 0.12, 0.12, 0.06), "clisi": (-0.10, -0.10, -0.14, -0.08)}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation over seeds."""
    return (
        f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
        if len(values) > 1
        else f"{values.mean():.3f}"
    )


def table1(table: pd.DataFrame) -> str:
    """Scores by setup and method, and the gain over PCA beside the paper's."""
    rows = []
    for setup, part in table.groupby("setup"):
        base = part[part["method"] == "PCA"].set_index("seed")
        bayes = part[part["method"] == "Bayes"].set_index("seed")
        for method, own in part.groupby("method", sort=False):
            own = own.set_index("seed")
            row = [str(setup), method, str(len(own))]
            for metric in ("silhouette", "clisi"):
                gain = own[metric] - base[metric].loc[own.index]
                whole = (bayes[metric] - base[metric]).loc[own.index]
                paper = PAPER[metric][setup - 1]
                row.append(spread(own[metric]))
                row.append("" if method == "PCA" else f"{gain.mean():+.3f} ({paper:+.2f})")
                row.append("" if method == "PCA" else f"{gain.mean() / whole.mean():.0%}")
            rows.append(row)
    header = ["setup", "method", "seeds"]
    for metric in ("silhouette ↑", "cLISI ↓"):
        header += [metric, "gain (paper's)", "of Bayes'"]
    return markdown(header, rows)


def samplers(table: pd.DataFrame) -> str:
    """One row per measurement."""
    rows = [
        [row.what.strip(), f"{row.value:,.4g} {row.unit}".strip(), row.note]
        for row in table.fillna("").itertuples()
    ]
    return markdown(["measured", "value", ""], rows)


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


def plain(table: pd.DataFrame, form: str = "{:.4g}") -> str:
    """A table as it is, numbers short, nothing where there is none."""

    def text(value: object) -> str:
        if isinstance(value, str):
            return value
        return "" if pd.isna(value) else form.format(value)

    return markdown(list(table.columns), [[text(v) for v in row] for row in table.to_numpy(object)])


def transfer_pairs(table: pd.DataFrame) -> str:
    """Accuracy and macro F1 of each pair and method."""
    return plain(table)


def transfer_speed(table: pd.DataFrame) -> str:
    """Seconds, memory and accuracy by number of cells."""
    return plain(table)


def transfer_sets(table: pd.DataFrame) -> str:
    """Coverage and size of the prediction sets, mean over seeds."""
    keys = ["data", "space", "asked"]
    mean = table.groupby(keys, sort=False).mean(numeric_only=True).drop(columns="seed")
    return plain(mean.reset_index(), "{:.3g}")


def transfer_left_out(table: pd.DataFrame) -> str:
    """Types that the reference lacks."""
    return plain(table, "{:.3g}")


TABLES = (
    table1, samplers, rho_sweep,
    transfer_pairs, transfer_sets, transfer_left_out, transfer_speed,
)  # fmt: skip


def replace_block(text: str, name: str, body: str) -> str:
    """The page with `body` between its markers `<name>: start` and `<name>: end`."""
    pattern = rf"(<!-- {name}: start -->\n).*?(<!-- {name}: end -->)"
    text, found = re.subn(pattern, lambda m: m[1] + body + "\n" + m[2], text, flags=re.S)
    if not found:
        sys.exit(f"there are no markers for {name}")
    return text


def main() -> None:
    """Rewrite docs/benchmarks.md in place; tables without a file stay as they are."""
    path = DOCS / "benchmarks.md"
    text = path.read_text()
    for make in TABLES:
        source = DOCS / "benchmarks" / f"{make.__name__}.tsv"
        if source.exists():
            text = replace_block(text, make.__name__, make(pd.read_csv(source, sep="\t")))
    path.write_text(text)


if __name__ == "__main__":
    main()
