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
METRICS = {"ari": "ARI ↑", "clisi": "cLISI ↓", "silhouette": "silhouette ↑"}
# ARI by the choice of the resolution (score_benchmark.other_choices).
CHOICES = {"ari_plain": "ARI ↑, plain choice", "ari_spread": "ARI ↑, choice with the spread"}
ALL = "mean of the sets"


def take_over(results: Path, page: str) -> None:
    """Copy the tables of a run, and the figures that the page shows."""
    FOLDER.mkdir(exist_ok=True)
    for name in TABLES:
        shutil.copyfile(results / name, FOLDER / name)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name in re.findall(r"\(comparison/(\S+\.png)\)", page):
        shutil.copyfile(results / "figures" / name, FOLDER / name)


def base_table(summary: pd.DataFrame, protocol: str, metric: str) -> str:
    """Methods in rows, sets in columns; the best of a column in bold."""
    part = summary[(summary["variant"] == "base") & (summary["protocol"] == protocol)]
    part = part[~part["method"].str.startswith("dice_rho")]
    wide = by_set(part, metric)
    best = wide.min() if metric in DOWN else wide.max()
    rows = [
        [method, *(f"**{v:.3f}**" if v == best[c] else f"{v:.3f}" for c, v in own.items())]
        for method, own in wide.iterrows()
    ]
    return markdown([SHOWN[metric], *wide.columns], rows)


def by_set(part: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric's means over seeds: methods x sets, and the mean of the sets."""
    wide = part[part["metric"] == metric].pivot_table(
        index="method", columns="set", values="mean", sort=False
    )
    return wide.assign(mean=wide.mean(axis=1))


def protocol_tables(protocol: str):
    def make(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
        return "\n\n".join(base_table(summary, protocol, metric) for metric in METRICS)

    return make


def difference_table(summary: pd.DataFrame, differences: pd.DataFrame, costs: pd.DataFrame) -> str:
    """DICE less each other method, mean of the sets, and on how many sets it is better."""
    rows = []
    for protocol in ("blind", "paper"):
        part = differences[differences["protocol"] == protocol]
        for other in dict.fromkeys(part["other"]):
            row = [protocol, other]
            for metric in METRICS:
                own = part[(part["other"] == other) & (part["metric"] == metric)].set_index("set")
                mean, sets = own.loc[ALL], own.drop(index=ALL)["difference"]
                better = (sets < 0) if metric == "clisi" else (sets > 0)
                row.append(f"{mean['difference']:+.3f} ({mean['low']:+.3f} to {mean['high']:+.3f})")
                row.append(f"{better.sum()} of {len(sets)}")
            rows.append(row)
    header = ["protocol", "DICE less"]
    for name in METRICS.values():
        header += [name, "better on"]
    return markdown(header, rows)


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
    "differences": difference_table,
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
