"""Put a run of the target `benchmark` into docs/comparison.md.

    PYTHONPATH=workflow_scripts python docs/update_comparison.py \
        results/benchmark/full results/benchmark/batches

Copies the run's tables and figures, and the scopes of the second run, to docs/comparison/. The page
gets small tables of means; what they leave out is written to by_set.tsv and by_scope.tsv there.
Without arguments, page and tables are made again from docs/comparison/.
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
PAGE = DOCS / "comparison.md"
TABLES = ("summary", "differences", "variants", "costs")
BATCHES = "batches"
# The page explains the names. Those of protocol `paper` below are its Table 2's.
SHOWN = {
    "ari_reference": "ARI reference ↑",
    "ari": "ARI ↑",
    "ari_plain": "ARI plain ↑",
    "ari_spread": "ARI spread ↑",
    "clisi": "cLISI ↓",
    "clisi_nn9": "cLISI 9 ↓",
    "nmi_max": "NMI ↑",
    "v_measure": "V ↑",
    "silhouette": "silhouette ↑",
    "knn_accuracy": "15 NN ↑",
}
BY_SET = {
    "blind": ("ari", "clisi", "silhouette", "knn_accuracy"),
    "paper": ("ari", "clisi_nn9"),
}
# In a UMAP the cosine silhouette depends on the position of its origin.
MEANINGLESS = {("paper", "silhouette")}
COMPARED = {
    "blind": ("ari_reference", "ari", "ari_plain", "ari_spread", "clisi", "silhouette"),
    "paper": ("ari", "clisi_nn9", "nmi_max", "v_measure"),
}
BY_SCOPE = {
    "knn_accuracy": "accuracy of 15 nearest ↑",
    "knn_balanced_accuracy": "balanced accuracy of 15 nearest ↑",
    "clisi": SHOWN["clisi"],
    "ilisi_role": "iLISI of roles ↑",
}
PAIR = {"pca": "PCA", "dice_exact": "DICE"}
SCOPE = "scope-"
DOWN = {metric for metric, (_, up) in METRICS.items() if not up}
Tables = Mapping[str, pd.DataFrame]


def copy_run(results: Path, batches: Path, page: str) -> None:
    """Copy the tables of the runs, and the figures that the page shows."""
    figures = re.findall(r"\(comparison/(\S+\.png)\)", page)
    wanted = {f"{name}.tsv": results / f"{name}.tsv" for name in TABLES}
    wanted[f"{BATCHES}.tsv"] = batches / "variants.tsv"
    wanted |= {name: results / "figures" / name for name in figures}
    if missing := [str(path) for path in wanted.values() if not path.exists()]:
        sys.exit(f"these files are missing, nothing is changed: {', '.join(missing)}")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name, path in wanted.items():
        shutil.copyfile(path, FOLDER / name)


def base_part(summary: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Scores of the methods, without the values of the sweep of rho."""
    part = summary[(summary["variant"] == "base") & (summary["protocol"] == protocol)]
    return part[~part["method"].str.startswith("dice_rho")]


def by_set(part: pd.DataFrame, metric: str, value: str = "mean") -> pd.DataFrame:
    """A metric's means (sd) over seeds: methods x sets, and the mean of the sets."""
    wide = part[part["metric"] == metric].pivot_table(
        index="method", columns="set", values=value, sort=False
    )
    return wide.assign(mean=wide.mean(axis=1))


def best_of(values: pd.Series, metric: str, whole: pd.Index) -> float:
    """The best of the methods that have all seeds: others were not on the same splits."""
    values = values[values.index.isin(whole)]
    return values.min() if metric in DOWN else values.max()


def with_all_seeds(part: pd.DataFrame) -> pd.Index:
    """Methods that have as many seeds as any."""
    seeds = part[part["metric"] == "ari"].groupby("method")["seeds"].min()
    return seeds.index[seeds == seeds.max()]


def means_table(protocol: str):
    """Means of the sets: methods in rows, metrics in columns, and the number of seeds."""

    def make(tables: Tables) -> str:
        part = base_part(tables["summary"], protocol)
        whole = with_all_seeds(part)
        metrics = [metric for metric in SHOWN if (protocol, metric) not in MEANINGLESS]
        found = {metric: by_set(part, metric) for metric in metrics}
        found = {metric: wide["mean"] for metric, wide in found.items() if len(wide)}
        rows = []
        for method, own in part.groupby("method", sort=False):
            row = [method]
            for metric, mean in found.items():
                value = mean.get(method)
                shown = "" if value is None else f"{value:.3f}"
                row.append(bold(shown, value == best_of(mean, metric, whole)))
            rows.append([*row, str(own.loc[own["metric"] == "ari", "seeds"].min())])
        header = [f"{part['set'].nunique()} sets", *(SHOWN[m] for m in found), "seeds"]
        return markdown(header, rows)

    return make


def bold(text: str, yes: bool) -> str:
    """The text, in bold if asked."""
    return f"**{text}**" if yes else text


def clear_of_zero(row: pd.Series) -> bool:
    """Whether the interval of a mean over three sets or more excludes 0."""
    return row["n"] >= 3 and (row["low"] > 0 or row["high"] < 0)


def difference_table(protocol: str):
    """DICE minus each other method, mean of the sets; on how many sets it is better."""

    def make(tables: Tables) -> str:
        part = tables["differences"]
        part = part[part["protocol"] == protocol]
        rows = []
        for other in dict.fromkeys(part["other"]):
            row = [other]
            for metric in COMPARED[protocol]:
                own = part[(part["other"] == other) & (part["metric"] == metric)].set_index("set")
                if own.empty:
                    row.append("")
                    continue
                mean, sets = own.loc[ALL], own.drop(index=ALL)["difference"]
                better = (sets < 0) if metric in DOWN else (sets > 0)
                shown = bold(f"{mean['difference']:+.3f}", clear_of_zero(mean))
                row.append(f"{shown} ({better.sum()})")
            rows.append(row)
        return markdown(["DICE minus", *(SHOWN[metric] for metric in COMPARED[protocol])], rows)

    return make


def with_interval(row: pd.Series) -> str:
    """The difference; its interval where there are enough sets for a meaningful one."""
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
    rows.append([f"all {len(costs)} jobs", f"{hours:.1f} h in total", "", f"{largest:.0f}"])
    return markdown(["job", "s, mean", "s, largest", "MB, largest"], rows)


def scope_gains(part: pd.DataFrame, name: str) -> str:
    """What each `batch.scope` gains over none, in a set or as the mean of the sets."""
    part = part[part["variant"].str.startswith(SCOPE) & (part["set"] == name)]
    table = part.set_index(["metric", "variant", "method"])
    variants = list(dict.fromkeys(part["variant"]))
    rows = []
    for metric, title in BY_SCOPE.items():
        row = [title]
        for variant in variants:
            for method in PAIR:
                found = table.loc[(metric, variant, method)]
                row.append(bold(f"{found['difference']:+.3f}", clear_of_zero(found)))
        rows.append(row)
    header = [ALL if name == ALL else name]
    for variant in variants:
        header += [f"{variant.removeprefix(SCOPE)}, {method}" for method in PAIR.values()]
    return markdown(header, rows)


def batch_gains(tables: Tables) -> str:
    """`scope_gains` of each set of the second run."""
    part = tables[BATCHES]
    sets = dict.fromkeys(part.loc[part["set"] != ALL, "set"])
    return "\n\n".join(scope_gains(part, name) for name in sets)


def choice_table(tables: Tables) -> str:
    """Gain of scope `mapped` over `within_role`, mean of the pairs of both runs."""
    both = pd.concat([tables["variants"], tables[BATCHES]])
    # Values are means over seeds already.
    both = both[both["set"] != ALL].assign(seed=0)
    titles = BY_SCOPE | {metric: SHOWN[metric] for metric in ("silhouette", "ari")}
    columns = {}
    for method in PAIR:
        own = both[both["method"] == method]
        scopes = own.assign(method=own["variant"])
        found = paired_differences(scopes, f"{SCOPE}mapped", [f"{SCOPE}within_role"], tuple(titles))
        columns[method] = found[found["set"] == ALL].set_index("metric")
    rows = [
        [title, *(with_interval(columns[method].loc[metric]) for method in PAIR)]
        for metric, title in titles.items()
    ]
    pairs = columns["pca"]["n"].max()
    return markdown([f"mapped minus within_role, {pairs} pairs", *PAIR.values()], rows)


def table_by_set(tables: Tables) -> pd.DataFrame:
    """Every method's mean and sd over seeds on every set: what the means of the page leave out."""
    found = []
    for protocol, metrics in BY_SET.items():
        part = base_part(tables["summary"], protocol)
        for metric in metrics:
            for value in ("mean", "sd"):
                wide = by_set(part, metric, value)
                if value == "sd":
                    wide = wide.drop(columns="mean")
                wide = wide.reset_index()
                for place, name in enumerate(("protocol", "metric")):
                    wide.insert(place, name, (protocol, metric)[place])
                wide.insert(3, "value", value)
                found.append(wide)
    return pd.concat(found)


def table_by_scope(tables: Tables) -> pd.DataFrame:
    """PCA and DICE on every pair by `batch.scope`, none included; means over seeds."""
    part = pd.concat([tables["variants"], tables[BATCHES]], ignore_index=True)
    part = part[part["variant"].str.startswith(SCOPE) & part["metric"].isin(list(BY_SCOPE))]
    part = part[part["set"] != ALL]
    part = part.assign(scope=part["variant"].str.removeprefix(SCOPE))
    none = part.assign(scope="none", value=part["value"] - part["difference"])
    keys = ["set", "scope", "method", "metric"]
    both = pd.concat([none.drop_duplicates(keys), part], ignore_index=True)
    both["column"] = both["metric"] + "_" + both["method"]
    order = [f"{metric}_{method}" for metric in BY_SCOPE for method in PAIR]
    wide = both.pivot_table(index=["set", "scope"], columns="column", values="value", sort=False)
    scopes = ["none", *dict.fromkeys(part["scope"])]
    names = pd.MultiIndex.from_product(
        [list(dict.fromkeys(part["set"])), scopes], names=["set", "scope"]
    )
    return wide.reindex(names)[order].reset_index()


BLOCKS = {
    "blind": means_table("blind"),
    "paper": means_table("paper"),
    "differences_blind": difference_table("blind"),
    "differences_paper": difference_table("paper"),
    "costs": cost_table,
    "scopes": lambda tables: scope_gains(tables["variants"], ALL),
    "batches": batch_gains,
    "choice": choice_table,
}
WRITTEN = {"by_set": table_by_set, "by_scope": table_by_scope}


def main() -> None:
    """Rewrite the page and the wide tables in place."""
    if len(sys.argv) not in (1, 3):
        sys.exit(__doc__)
    if sys.argv[1:]:
        copy_run(*map(Path, sys.argv[1:]), PAGE.read_text())
    names = (*TABLES, BATCHES)
    tables = {name: pd.read_csv(FOLDER / f"{name}.tsv", sep="\t") for name in names}
    text = PAGE.read_text()
    for name, make in BLOCKS.items():
        text = replace_block(text, name, make(tables))
    PAGE.write_text(text)
    for name, make in WRITTEN.items():
        make(tables).to_csv(FOLDER / f"{name}.tsv", sep="\t", index=False, float_format="%.3f")


if __name__ == "__main__":
    main()
