"""Put runs of the target `benchmark` into docs/comparison.md.

    PYTHONPATH=workflow_scripts python docs/update_comparison.py \
        results/benchmark/full results/benchmark/batches

Adds each run's scores to docs/comparison/scores.tsv, and those of a run called `batches` to
scores_batches.tsv: seeds and methods may come from several runs, and a split that is run again
takes the place of the earlier one. Page, tables and figures are made of these files. Curves and
UMAPs are copied from the run that is named last. Without arguments, all is made again from
docs/comparison/. With `--methods scvi` only that method's scores are added.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from dice_atlas.baselines.methods import METHODS
from dice_atlas.benchmark.collect import tables_of, write_figures
from dice_atlas.benchmark.figures import METRICS
from dice_atlas.benchmark.tables import ALL, paired_differences
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "comparison"
PAGE = DOCS / "comparison.md"
BATCHES = "batches"
# What names a row of the raw scores, and of the costs.
KEYS = ["set", "variant", "seed", "protocol", "method"]
COST_KEYS = ["set", "variant", "seed", "what"]
# Figures that need more than the scores.
COPIED = ("curves_", "umap_")
# The page explains the names. Those of protocol `paper` below are its Table 2's.
SHOWN = {
    "ari_reference": "ARI reference ↑",
    "ari": "ARI ↑",
    "clisi": "cLISI ↓",
    "clisi_nn9": "cLISI 9 ↓",
    "nmi_max": "NMI ↑",
    "v_measure": "V ↑",
    "silhouette": "silhouette ↑",
    "silhouette_centred": "silhouette centred ↑",
    "knn_accuracy": "15 NN ↑",
}
BY_SET = {
    "blind": ("ari_reference", "ari", "clisi", "silhouette", "knn_accuracy"),
    "paper": ("ari", "clisi_nn9"),
}
# In a UMAP the cosine silhouette depends on the position of its origin.
MEANINGLESS = {("paper", "silhouette")}
COMPARED = {
    "blind": ("ari_reference", "ari", "clisi", "silhouette", "knn_accuracy"),
    "paper": ("ari", "clisi_nn9", "nmi_max", "v_measure"),
}
BY_SCOPE = {
    "knn_accuracy": "accuracy of 15 nearest ↑",
    "knn_balanced_accuracy": "balanced accuracy of 15 nearest ↑",
    "clisi": SHOWN["clisi"],
    "ilisi_role": "iLISI of roles ↑",
}
PAIR_DICE = "dice_exact"
PAIR = {"pca": "PCA", PAIR_DICE: "DICE"}
SCOPE = "scope-"
DOWN = {metric for metric, (_, up) in METRICS.items() if not up}
Tables = Mapping[str, pd.DataFrame]


def raw_file(run: str) -> Path:
    """The raw scores that a run is added to."""
    return FOLDER / (f"scores_{BATCHES}.tsv" if run == BATCHES else "scores.tsv")


def merged(old: Path, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of a file and new ones in place of those of the same keys; sets stay together."""
    before = [pd.read_csv(old, sep="\t", dtype={"set": str})] if old.exists() else []
    both = pd.concat([*before, new]).drop_duplicates(keys, keep="last")
    orders = {name: list(dict.fromkeys(both[name])) for name in keys}
    orders["seed"] = sorted(orders["seed"])
    if "method" in orders:
        known = [*METHODS, *orders["method"]]
        orders["method"] = list(dict.fromkeys(name for name in known if name in orders["method"]))
    return both.sort_values(keys, key=lambda column: column.map(orders[column.name].index))


def add_run(results: Path, methods: list[str]) -> None:
    """Add the scores and costs of a run; copy the figures that cannot be drawn from scores.

    Of the methods that are named, if some are: then no figure is copied.
    """
    scores = pd.read_csv(results / "scores.tsv.gz", sep="\t", dtype={"set": str})
    if methods:
        scores = scores[scores["method"].isin(methods)]
    wide = scores.pivot(index=KEYS, columns="metric", values="value").reset_index()
    target = raw_file(results.name)
    merged(target, wide, KEYS).to_csv(target, sep="\t", index=False, float_format="%.5g")
    if results.name == BATCHES:
        return
    costs = pd.read_csv(results / "costs.tsv", sep="\t", dtype={"set": str})
    if methods:
        costs = costs[costs["what"].isin(methods)]
    target = FOLDER / "costs.tsv"
    merged(target, costs, COST_KEYS).to_csv(target, sep="\t", index=False, float_format="%.5g")
    for name in [] if methods else figures_shown():
        source = results / "figures" / name
        # A run of other sets or of one protocol has not all of them.
        if name.startswith(COPIED) and source.exists():
            shutil.copyfile(source, FOLDER / name)


def figures_shown() -> list[str]:
    """Names of the figures of the page."""
    return re.findall(r"\(comparison/(\S+\.png)\)", PAGE.read_text())


def raw_scores(run: str) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The raw scores, one value a row, and what is `incomplete`; none before the run was added."""
    if not raw_file(run).exists():
        return pd.DataFrame(columns=[*KEYS, "metric", "value"]), []
    wide = pd.read_csv(raw_file(run), sep="\t", dtype={"set": str})
    partly = incomplete(wide)
    shown = wide[~wide.set_index(["protocol", "method"]).index.isin(partly)]
    return shown.melt(KEYS, var_name="metric").dropna(subset="value"), partly


def incomplete(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Protocols and methods without a score of each set: their means are not those of the others.

    A slow method is measured set by set, and shown when it has all.
    """
    base = scores[scores["variant"] == "base"]
    sets = base.groupby(["protocol", "method"])["set"].nunique()
    whole = base.groupby("protocol")["set"].nunique()
    return [key for key, n in sets.items() if n < whole[key[0]]]


def all_tables() -> dict[str, pd.DataFrame]:
    """Tables of both runs, written to docs/comparison/ where the page links to them."""
    scores, partly = raw_scores("full")
    tables = tables_of(scores) | {"scores": scores}
    tables[BATCHES] = tables_of(raw_scores(BATCHES)[0])["variants"]
    for name in ("differences", "variants", BATCHES):
        table = tables[name]
        # The page's sections link to the variants for the scopes. What was not measured again
        # keeps its table.
        if name == "differences" or table["variant"].str.startswith(SCOPE).any():
            table.to_csv(FOLDER / f"{name}.tsv", sep="\t", index=False, float_format="%.4g")
    costs = pd.read_csv(FOLDER / "costs.tsv", sep="\t", dtype={"set": str})
    return tables | {"costs": costs[~costs["what"].isin([method for _, method in partly])]}


def draw(tables: Tables) -> None:
    """Draw again the figures of the page that need the scores alone."""
    with TemporaryDirectory() as folder:
        no_curves = pd.DataFrame(columns=["protocol", "method"])
        write_figures({**tables, "curves": no_curves}, {}, Path(folder) / "figures")
        for name in figures_shown():
            drawn = Path(folder) / "figures" / name
            if not name.startswith(COPIED) and drawn.exists():
                shutil.copyfile(drawn, FOLDER / name)


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
        if part.empty:
            return ""
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


# What DICE should reach, as the mean of the sets: metric, bound.
TARGETS = {"clisi": 1.165, "silhouette": 0.62, "ari_reference": 0.83}
# Sees the labels of the reference in full, and may be level with DICE.
SAME_LABELS = "lda"


def target_table(tables: Tables) -> str:
    """Each target with what was measured, the best other method, and the verdict."""
    part = base_part(tables["summary"], "blind")
    rows = []
    for metric in (*TARGETS, "knn_accuracy"):
        mean = by_set(part, metric)["mean"]
        down, own = metric in DOWN, mean[PAIR_DICE]
        others = mean[~mean.index.str.startswith("dice_")]
        if metric == "knn_accuracy":
            bound, rivals = others["pca"], others[["pca"]]
            asked = f"not below PCA ({bound:.3f})"
        else:
            bound, rivals = TARGETS[metric], others
            asked = f"{'at most' if down else 'at least'} {bound:g}"
            if metric != "silhouette":
                asked += ", and better than all others"
            if metric == "ari_reference":
                rivals, asked = others.drop(SAME_LABELS, errors="ignore"), f"{asked} but LDA"
        best = rivals.idxmin() if down else rivals.idxmax()
        if metric != "silhouette":
            bound = min(bound, rivals[best]) if down else max(bound, rivals[best])
        met = own <= bound if down else own >= bound
        rows.append(
            [
                SHOWN[metric],
                asked,
                f"{own:.3f}",
                f"{best} {rivals[best]:.3f}",
                "yes" if met else "no",
            ]
        )
    free, magic = (by_set(part, "clisi")["mean"][name] for name in ("dice_no_labels", "magic"))
    rows.append(["cLISI ↓, no labels", "better than MAGIC", f"{free:.3f}", f"magic {magic:.3f}",
                 "yes" if free < magic else "no"])  # fmt: skip
    return markdown(["metric", "target", "DICE", "best other", "met"], rows)


# What each part of DICE adds, one after the other.
PARTS = {
    "dice_isotropic": "isotropic noise, no background",
    "dice_sharp": "+ within-type noise",
    PAIR_DICE: "+ background (the default)",
}


def parts_table(tables: Tables) -> str:
    """Means of the sets with each further part of DICE."""
    part = base_part(tables["summary"], "blind")
    means = {metric: by_set(part, metric)["mean"] for metric in COMPARED["blind"]}
    rows = [
        [title, *(f"{mean[method]:.3f}" for mean in means.values())]
        for method, title in PARTS.items()
    ]
    return markdown(["part", *(SHOWN[metric] for metric in means)], rows)


MISSING = "missing-"
OF_TYPE = {
    "type_purity": "purity ↑", "type_f1": "F1 ↑", "type_silhouette": "silhouette ↑",
    "type_auc_distance": "AUROC, distance ↑", "type_auc_background": "AUROC, background ↑",
}  # fmt: skip


def missing_table(tables: Tables) -> str:
    """How each method shows a type that the reference lacks: means of the types of all sets."""
    scores = tables["scores"]
    part = scores[scores["variant"].str.startswith(MISSING) & scores["metric"].isin(list(OF_TYPE))]
    if part.empty:
        return ""
    # Of types that all methods were measured on.
    keys = ["set", "variant", "seed"]
    of_split = part[part["metric"] == "type_purity"].groupby(keys)["method"].nunique()
    whole = of_split.index[of_split == part["method"].nunique()]
    part = part[part.set_index(keys).index.isin(whole)]
    wide = part.pivot_table(index="method", columns="metric", values="value", sort=False)
    rows = [
        [method, *("" if pd.isna(row.get(m)) else f"{row[m]:.3f}" for m in OF_TYPE)]
        for method, row in wide.iterrows()
    ]
    types = part.groupby(["set", "variant"]).ngroups
    return markdown([f"{types} missing types", *OF_TYPE.values()], rows)


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
        if part.empty:
            return ""
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


def scoped(tables: Tables) -> pd.DataFrame:
    """What each `batch.scope` gains, of the sets of both runs."""
    whole = tables["variants"]
    if len(tables[BATCHES]):
        whole = pd.concat([whole, tables[BATCHES]], ignore_index=True)
    return whole[whole["variant"].str.startswith(SCOPE)]


def scope_gains(part: pd.DataFrame, name: str) -> str:
    """What each `batch.scope` gains over none, in a set or as the mean of the sets."""
    part = part[part["variant"].str.startswith(SCOPE) & (part["set"] == name)]
    if part.empty:
        return ""
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
    both = scoped(tables)
    if both.empty:
        return ""
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
    part = scoped(tables)
    part = part[part["metric"].isin(list(BY_SCOPE))]
    part = part[part["set"] != ALL]
    part = part.assign(scope=part["variant"].str.removeprefix(SCOPE))
    none = part.assign(scope="none", value=part["value"] - part["difference"])
    keys = ["set", "scope", "method", "metric"]
    both = pd.concat([none.drop_duplicates(keys), part], ignore_index=True)
    both["column"] = both["metric"] + "_" + both["method"]
    order = [f"{metric}_{method}" for metric in BY_SCOPE for method in PAIR]
    wide = both.pivot_table(index=["set", "scope"], columns="column", values="value", sort=False)
    scopes = ["none", *dict.fromkeys(part["scope"])]
    if wide.empty:
        return wide
    names = pd.MultiIndex.from_product(
        [list(dict.fromkeys(part["set"])), scopes], names=["set", "scope"]
    )
    return wide.reindex(names)[order].reset_index()


BLOCKS = {
    "targets": target_table,
    "parts": parts_table,
    "missing": missing_table,
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
    """Add the runs that are named, and make page, tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--methods", nargs="+", default=[], help="add those of the runs alone")
    given = parser.parse_args()
    runs = given.runs
    if absent := [name for name in BLOCKS if f"<!-- {name}: start -->" not in PAGE.read_text()]:
        sys.exit(f"{PAGE} has no block {', '.join(absent)}; nothing is changed")
    if not runs and not raw_file("full").exists():
        sys.exit(f"{raw_file('full')} is missing: name a run; nothing is changed")
    if missing := [str(run) for run in runs if not (run / "scores.tsv.gz").exists()]:
        sys.exit(f"no run of the benchmark: {', '.join(missing)}; nothing is changed")
    for run in runs:
        add_run(run, given.methods)
    tables = all_tables()
    draw(tables)
    text = PAGE.read_text()
    for name, make in BLOCKS.items():
        # What was not measured again stays.
        if made := make(tables):
            text = replace_block(text, name, made)
    PAGE.write_text(text)
    for name, make in WRITTEN.items():
        table = make(tables)
        if table.empty:
            continue
        table.to_csv(FOLDER / f"{name}.tsv", sep="\t", index=False, float_format="%.3f")


if __name__ == "__main__":
    main()
