"""Put a run of the target `benchmark` into docs/comparison.md.

    python docs/update_comparison.py results/benchmark/full

Takes its tables and figures over to docs/comparison/; without an argument the page is made again
of those that lie there.
"""

import re
import shutil
import sys
from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "comparison"
TABLES = ("summary.tsv", "differences.tsv", "costs.tsv")
# Those of protocol `paper` below are its Table 2's.
SHOWN = {
    "ari": "ARI ↑",
    "ari_plain": "ARI ↑, plain choice",
    "ari_spread": "ARI ↑, choice with the spread",
    "clisi": "cLISI ↓",
    "clisi_nn9": "cLISI ↓, 9 nearest",
    "nmi_max": "NMI (max) ↑",
    "v_measure": "V-measure ↑",
    "silhouette": "silhouette ↑",
}
BY_SET = {"blind": ("ari", "clisi", "silhouette"), "paper": ("ari", "clisi_nn9")}
COMPARED = {
    "blind": ("ari", "ari_plain", "clisi", "silhouette"),
    "paper": ("ari", "clisi_nn9", "nmi_max", "v_measure"),
}
DOWN = ("clisi", "clisi_nn9")
ALL = "mean of the sets"


def take_over(results: Path, page: str) -> None:
    """Copy the tables of a run, and the figures that the page shows."""
    figures = re.findall(r"\(comparison/(\S+\.png)\)", page)
    wanted = [*(results / name for name in TABLES), *(results / "figures" / f for f in figures)]
    if missing := [str(path) for path in wanted if not path.exists()]:
        sys.exit(f"not there, nothing is changed: {', '.join(missing)}")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for path in wanted:
        shutil.copyfile(path, FOLDER / path.name)


def base_part(summary: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Scores of the methods, without the values of the sweep of rho."""
    part = summary[(summary["variant"] == "base") & (summary["protocol"] == protocol)]
    return part[~part["method"].str.startswith("dice_rho")]


def best_of(values: pd.Series, metric: str) -> float:
    return values.min() if metric in DOWN else values.max()


def base_table(summary: pd.DataFrame, protocol: str, metric: str) -> str:
    """Methods in rows, sets in columns, mean ± sd over seeds; the best of a column in bold."""
    part = base_part(summary, protocol)
    wide = by_set(part, metric)
    sd = by_set(part, metric, "sd").drop(columns="mean").reindex_like(wide)
    rows = []
    for method, own in wide.iterrows():
        row = [method]
        for name, value in own.items():
            text = f"{value:.3f}"
            if value == best_of(wide[name], metric):
                text = f"**{text}**"
            spread = sd.loc[method, name]
            row.append(text if pd.isna(spread) else f"{text} ± {spread:.3f}")
        rows.append(row)
    return markdown([SHOWN[metric], *wide.columns], rows)


def means_table(summary: pd.DataFrame, protocol: str) -> str:
    """Means of the sets: methods in rows, metrics in columns."""
    part = base_part(summary, protocol)
    found = {metric: by_set(part, metric) for metric in SHOWN}
    found = {metric: wide["mean"] for metric, wide in found.items() if len(wide)}
    rows = []
    for method in dict.fromkeys(part["method"]):
        row = [method]
        for metric, mean in found.items():
            value = mean.get(method)
            shown = "" if value is None else f"{value:.3f}"
            row.append(f"**{shown}**" if value == best_of(mean, metric) else shown)
        rows.append(row)
    return markdown(["mean of the sets", *(SHOWN[metric] for metric in found)], rows)


def by_set(part: pd.DataFrame, metric: str, value: str = "mean") -> pd.DataFrame:
    """A metric's means (sd) over seeds: methods x sets, and the mean of the sets."""
    wide = part[part["metric"] == metric].pivot_table(
        index="method", columns="set", values=value, sort=False
    )
    return wide.assign(mean=wide.mean(axis=1))


def protocol_tables(protocol: str):
    def make(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
        tables = [base_table(summary, protocol, metric) for metric in BY_SET[protocol]]
        return "\n\n".join([means_table(summary, protocol), *tables])

    return make


def difference_tables(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
    """DICE less each other method, mean of the sets, and on how many sets it is better."""
    tables = []
    for protocol, metrics in COMPARED.items():
        part = differences[differences["protocol"] == protocol]
        rows = []
        for other in dict.fromkeys(part["other"]):
            row = [other]
            for metric in metrics:
                own = part[(part["other"] == other) & (part["metric"] == metric)].set_index("set")
                mean, sets = own.loc[ALL], own.drop(index=ALL)["difference"]
                better = (sets < 0) if metric in DOWN else (sets > 0)
                row.append(f"{mean['difference']:+.3f} ({mean['low']:+.3f} to {mean['high']:+.3f})")
                row.append(f"{better.sum()} of {len(sets)}")
            rows.append(row)
        header = [f"{protocol}: DICE less"]
        for metric in metrics:
            header += [SHOWN[metric], "better on"]
        tables.append(markdown(header, rows))
    return "\n\n".join(tables)


def cost_table(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
    """Seconds and peak memory of a method, mean and largest over splits."""
    rows = []
    for what, own in costs.groupby("what", sort=False):
        seconds, memory = own["seconds"], own["peak_mb"]
        rows.append([what, f"{seconds.mean():.0f}", f"{seconds.max():.0f}", f"{memory.max():.0f}"])
    return markdown(["job", "s, mean", "s, largest", "MB, largest"], rows)


def variant_table(prefix: str, metrics: dict[str, str], base: str):
    """Rows: set and variant, first the base by its name; PCA and DICE, means over seeds."""

    def make(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
        blind = summary[summary["protocol"] == "blind"]
        value = blind.set_index(["set", "variant", "method", "metric"])["mean"]
        part = blind[blind["variant"].str.startswith(prefix)]
        rows = []
        for name, own in part.groupby("set", sort=False):
            for variant in ("base", *dict.fromkeys(own["variant"])):
                row = [name, base if variant == "base" else variant.removeprefix(prefix)]
                row += [
                    f"{value[name, variant, method, metric]:.3f}"
                    for metric in metrics
                    for method in ("pca", "dice_exact")
                ]
                rows.append(row)
        header = ["set", prefix.rstrip("-")]
        for shown in metrics.values():
            header += [f"{shown}, PCA", "DICE"]
        return markdown(header, rows)

    return make


NEAREST = {"knn_accuracy": "accuracy of 15 nearest ↑", "knn_balanced_accuracy": "balanced ↑"}
BLOCKS = {
    "blind": protocol_tables("blind"),
    "paper": protocol_tables("paper"),
    "differences": difference_tables,
    "costs": cost_table,
    "scopes": variant_table(
        "scope-", NEAREST | {"clisi": "cLISI ↓", "ilisi_role": "iLISI ↑"}, "none"
    ),
}


def main() -> None:
    """Rewrite docs/comparison.md in place."""
    path = DOCS / "comparison.md"
    text = path.read_text()
    if sys.argv[1:]:
        take_over(Path(sys.argv[1]), text)
    tables = [pd.read_csv(FOLDER / name, sep="\t") for name in TABLES]
    for name, make in BLOCKS.items():
        text = replace_block(text, name, make(*tables))
    path.write_text(text)


if __name__ == "__main__":
    main()
