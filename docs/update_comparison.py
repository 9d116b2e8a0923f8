"""Put a run of the target `benchmark` into docs/comparison.md, its means into docs/benchmarks.md.

    PYTHONPATH=workflow_scripts python docs/update_comparison.py \
        results/benchmark/full results/benchmark/batches

Takes its tables and figures, and the scopes of the second run, over to docs/comparison/; without
arguments the pages are made again of what lies there.
"""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from dice_atlas.benchmark.figures import METRICS
from dice_atlas.benchmark.tables import ALL, paired_differences
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "comparison"
TABLES = ("summary", "differences", "variants", "costs")
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
    "knn_accuracy": "accuracy of 15 nearest ↑",
}
BY_SET = {"blind": ("ari", "clisi", "silhouette"), "paper": ("ari", "clisi_nn9")}
COMPARED = {
    "blind": ("ari", "ari_plain", "ari_spread", "clisi", "silhouette"),
    "paper": ("ari", "clisi_nn9", "nmi_max", "v_measure"),
}
BY_SCOPE = {
    "knn_accuracy": SHOWN["knn_accuracy"],
    "knn_balanced_accuracy": "balanced ↑",
    "clisi": SHOWN["clisi"],
    "ilisi_role": "iLISI ↑",
}
PAIR = ("pca", "dice_exact")
DOWN = {metric for metric, (_, up) in METRICS.items() if not up}
Tables = Mapping[str, pd.DataFrame]


def take_over(results: Path, batches: Path, page: str) -> None:
    """Copy the tables of the runs, and the figures that the page shows."""
    figures = re.findall(r"\(comparison/(\S+\.png)\)", page)
    wanted = {f"{name}.tsv": results / f"{name}.tsv" for name in TABLES}
    wanted["batches.tsv"] = batches / "variants.tsv"
    wanted |= {name: results / "figures" / name for name in figures}
    if missing := [str(path) for path in wanted.values() if not path.exists()]:
        sys.exit(f"not there, nothing is changed: {', '.join(missing)}")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name, path in wanted.items():
        shutil.copyfile(path, FOLDER / name)


def base_part(summary: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Scores of the methods, without the values of the sweep of rho."""
    part = summary[(summary["variant"] == "base") & (summary["protocol"] == protocol)]
    return part[~part["method"].str.startswith("dice_rho")]


def best_of(values: pd.Series, metric: str, whole: pd.Index) -> float:
    """The best of the methods that have all seeds: others were not on the same splits."""
    values = values[values.index.isin(whole)]
    return values.min() if metric in DOWN else values.max()


def with_all_seeds(part: pd.DataFrame) -> pd.Index:
    """Methods that have as many seeds as any."""
    seeds = part[part["metric"] == "ari"].groupby("method")["seeds"].min()
    return seeds.index[seeds == seeds.max()]


def base_table(summary: pd.DataFrame, protocol: str, metric: str) -> str:
    """Methods in rows, sets in columns, mean ± sd over seeds; the best of a column in bold."""
    part = base_part(summary, protocol)
    whole = with_all_seeds(part)
    wide = by_set(part, metric)
    sd = by_set(part, metric, "sd").drop(columns="mean").reindex_like(wide)
    rows = []
    for method, own in wide.iterrows():
        row = [method]
        for name, value in own.items():
            text = f"{value:.3f}"
            if value == best_of(wide[name], metric, whole):
                text = f"**{text}**"
            spread = sd.loc[method, name]
            row.append(text if pd.isna(spread) else f"{text} ± {spread:.3f}")
        rows.append(row)
    return markdown([SHOWN[metric], *wide.columns], rows)


def means_table(summary: pd.DataFrame, protocol: str) -> str:
    """Means of the sets: methods in rows, metrics in columns, and the number of seeds."""
    part = base_part(summary, protocol)
    whole = with_all_seeds(part)
    # In a UMAP the cosine silhouette hangs on where its origin lies.
    told = [m for m in SHOWN if (protocol, m) != ("paper", "silhouette")]
    found = {metric: by_set(part, metric) for metric in told}
    found = {metric: wide["mean"] for metric, wide in found.items() if len(wide)}
    rows = []
    for method, own in part.groupby("method", sort=False):
        row = [method]
        for metric, mean in found.items():
            value = mean.get(method)
            shown = "" if value is None else f"{value:.3f}"
            best = value == best_of(mean, metric, whole)
            row.append(f"**{shown}**" if best else shown)
        rows.append([*row, str(own.loc[own["metric"] == "ari", "seeds"].min())])
    sets = part["set"].nunique()
    return markdown([f"mean of {sets} sets", *(SHOWN[metric] for metric in found), "seeds"], rows)


def overview(tables: Tables) -> str:
    """The means of both protocols."""
    return "\n\n".join(
        f"Protocol `{protocol}`:\n\n{means_table(tables['summary'], protocol)}"
        for protocol in BY_SET
    )


def by_set(part: pd.DataFrame, metric: str, value: str = "mean") -> pd.DataFrame:
    """A metric's means (sd) over seeds: methods x sets, and the mean of the sets."""
    wide = part[part["metric"] == metric].pivot_table(
        index="method", columns="set", values=value, sort=False
    )
    return wide.assign(mean=wide.mean(axis=1))


def protocol_tables(protocol: str):
    def make(tables: Tables) -> str:
        summary = tables["summary"]
        each = [base_table(summary, protocol, metric) for metric in BY_SET[protocol]]
        return "\n\n".join([means_table(summary, protocol), *each])

    return make


def difference_tables(tables: Tables) -> str:
    """DICE less each other method, mean of the sets, and on how many sets it is better."""
    made, differences = [], tables["differences"]
    for protocol, metrics in COMPARED.items():
        part = differences[differences["protocol"] == protocol]
        rows = []
        for other in dict.fromkeys(part["other"]):
            row = [other]
            for metric in metrics:
                own = part[(part["other"] == other) & (part["metric"] == metric)].set_index("set")
                if own.empty:
                    row += ["", ""]
                    continue
                mean, sets = own.loc[ALL], own.drop(index=ALL)["difference"]
                better = (sets < 0) if metric in DOWN else (sets > 0)
                row.append(with_interval(mean))
                row.append(f"{better.sum()} of {len(sets)}")
            rows.append(row)
        header = [f"{protocol}: DICE less"]
        for metric in metrics:
            header += [SHOWN[metric], "better on"]
        made.append(markdown(header, rows))
    return "\n\n".join(made)


def with_interval(row: pd.Series) -> str:
    """The difference; its interval where there are enough sets for one that tells anything."""
    shown = f"{row['difference']:+.3f}"
    return shown if row["n"] < 3 else f"{shown} ({row['low']:+.3f} to {row['high']:+.3f})"


def cost_table(tables: Tables) -> str:
    """Seconds and peak memory of a job, mean and largest over the base's splits; all jobs."""
    rows, costs = [], tables["costs"]
    base = costs[(costs["variant"] == "base") & ~costs["what"].str.startswith("dice_rho")]
    for what, own in base.groupby("what", sort=False):
        seconds, memory = own["seconds"], own["peak_mb"]
        rows.append([what, f"{seconds.mean():.0f}", f"{seconds.max():.0f}", f"{memory.max():.0f}"])
    hours, largest = costs["seconds"].sum() / 3600, costs["peak_mb"].max()
    rows.append([f"all {len(costs)} jobs", f"{hours:.1f} h together", "", f"{largest:.0f}"])
    return markdown(["job", "s, mean", "s, largest", "MB, largest"], rows)


def scope_table(part: pd.DataFrame) -> str:
    """PCA and DICE by `batch.scope`: means over seeds, and the mean gain over none."""
    part = part[part["variant"].str.startswith("scope-")]
    table = part.set_index(["set", "variant", "method", "metric"])
    columns = [(method, metric) for metric in BY_SCOPE for method in PAIR]
    variants = list(dict.fromkeys(part["variant"]))

    def found(name: str, variant: str) -> list[pd.Series]:
        return [table.loc[(name, variant, *column)] for column in columns]

    rows = []
    for name in dict.fromkeys(part.loc[part["set"] != ALL, "set"]):
        first = found(name, variants[0])
        rows.append([name, "none", *(f"{row['value'] - row['difference']:.3f}" for row in first)])
        for variant in variants:
            shown = [f"{row['value']:.3f}" for row in found(name, variant)]
            rows.append([name, variant.removeprefix("scope-"), *shown])
    for variant in variants:
        gains = map(with_interval, found(ALL, variant))
        rows.append([f"mean gain of {variant.removeprefix('scope-')}", "", *gains])
    header = ["set", "scope"]
    for shown in BY_SCOPE.values():
        header += [f"{shown}, PCA", "DICE"]
    return markdown(header, rows)


def choice_table(tables: Tables) -> str:
    """Gain of scope `mapped` over `within_role`, mean of the pairs of both runs."""
    both = pd.concat([tables["variants"], tables["batches"]])
    # Values are means over seeds already.
    both = both[both["set"] != ALL].assign(seed=0)
    metrics, rows = (*BY_SCOPE, "silhouette", "ari"), []
    for method in PAIR:
        own = both[both["method"] == method]
        scopes = own.assign(method=own["variant"])
        found = paired_differences(scopes, "scope-mapped", ["scope-within_role"], metrics)
        mean = found[found["set"] == ALL].set_index("metric")
        rows.append([method, *(with_interval(mean.loc[metric]) for metric in metrics)])
    shown = [*BY_SCOPE.values(), SHOWN["silhouette"], SHOWN["ari"]]
    return markdown([f"mapped less within_role, {mean['n'].max()} pairs", *shown], rows)


BLOCKS = {
    "comparison.md": {
        "blind": protocol_tables("blind"),
        "paper": protocol_tables("paper"),
        "differences": difference_tables,
        "costs": cost_table,
        "scopes": lambda tables: scope_table(tables["variants"]),
        "batches": lambda tables: scope_table(tables["batches"]),
        "choice": choice_table,
    },
    "benchmarks.md": {"comparison": overview},
}


def main() -> None:
    """Rewrite the pages in place."""
    if len(sys.argv) not in (1, 3):
        sys.exit(__doc__)
    if sys.argv[1:]:
        take_over(*map(Path, sys.argv[1:]), (DOCS / "comparison.md").read_text())
    tables = {path.stem: pd.read_csv(path, sep="\t") for path in FOLDER.glob("*.tsv")}
    for page, blocks in BLOCKS.items():
        text = (DOCS / page).read_text()
        for name, make in blocks.items():
            text = replace_block(text, name, make(tables))
        (DOCS / page).write_text(text)


if __name__ == "__main__":
    main()
