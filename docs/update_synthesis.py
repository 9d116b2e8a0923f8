"""Put docs/synthesis/scores.tsv into docs/synthesis.md, by `make bench-synthesis`.

python docs/update_synthesis.py
"""

from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
PAGE, SCORES = DOCS / "synthesis.md", DOCS / "synthesis" / "scores.tsv"
ROWS = {
    "resampled": "real cells (control)",
    "mixed": "`mixed`",
    "all genes": "`mixed`, all genes",
    "gaussian": "`gaussian`",
    "diffusion": "`diffusion`",
    "posterior": "`posterior`",
    "without labels": "`diffusion`, no labels",
    "thinned_pairs": "mixed counts",
    "scvi": "scVI, posterior",
    "gaussian_copula": "Gaussian copula",
    "independent_negative_binomial": "independent NB",
}
SCLD, AUGMENT, SIZE, DEPTH = (
    DOCS / "synthesis" / f"{name}.tsv" for name in ("scld", "augment", "size", "depth")
)
SPACES, FUSIONS = ("unlogged_20000", "log1p"), ("add", "concatenate", "attention")
REMEDIES = ("none", "class weights", "oversampling", "SMOTE", "synthetic cells")
COLUMNS = {
    "rf_auc_pc": ("forest, PCs", 3),
    "rf_auc_genes": ("forest, genes", 3),
    "rf_auc_class": ("forest, class", 3),
    "mmd_squared": ("MMD²", 4),
    "ilisi": ("iLISI", 3),
    "tstr_accuracy": ("TSTR", 3),
    "label_kept": ("kept", 3),
    "zero_fraction_difference": ("zeros", 4),
    "dcr_p5": ("DCR", 2),
}
# The forest's figure is the noisiest: its range is shown.
RANGED = "rf_auc_pc"


def number(values: pd.Series, digits: int, ranged: bool = False) -> str:
    """The mean of the seeds, with the range if asked; a dash where nothing was measured."""
    if values.empty:
        return "–"
    text = f"{values.mean():.{digits}f}"
    if ranged and len(values) > 1:
        text += f" ({values.min():.{digits}f}–{values.max():.{digits}f})"
    return text


def score_tables(table: pd.DataFrame) -> str:
    """A table of each data set."""
    parts = []
    for name, own in table.groupby("set", sort=False):
        control = own[own["metric"] == "trtr_accuracy"]["value"].mean()
        seeds = own["seed"].nunique()
        rows = []
        for row, title in ROWS.items():
            mine = own[own["row"] == row]
            if mine.empty:
                continue
            values = {m: mine[mine["metric"] == m]["value"] for m in COLUMNS}
            rows.append([title, *(number(values[m], digits, m == RANGED)
                                  for m, (_, digits) in COLUMNS.items())])  # fmt: skip
        held = int(own[own["metric"] == "held_out"]["value"].iloc[0])
        head = (
            f"**{name}**, {held:,} held-out cells, {seeds} seed{'s' if seeds > 1 else ''}; "
            f"trained on real cells: {control:.3f}"
        )
        parts += [head, markdown(["cells", *(t for t, _ in COLUMNS.values())], rows)]
    return "\n\n".join(parts)


def seconds_table(table: pd.DataFrame) -> str:
    """CPU seconds of training and of making cells."""
    sets, parts = list(dict.fromkeys(table["set"])), ("train_seconds", "make_seconds")
    values = table.set_index(["row", "set", "metric"])["value"]
    rows = [
        [title, *(number(values[values.index == (row, name, part)], 1)
                  for name in sets for part in parts)]
        for row, title in ROWS.items()
        if (table["row"] == row).any()
    ]  # fmt: skip
    head = [f"{name}, {what}" for name in sets for what in ("train", "make")]
    return markdown(["cells", *head], rows)


def verdict(table: pd.DataFrame) -> str:
    """The first figures of the page, from the table."""
    lines = []
    for name, own in table.groupby("set", sort=False):
        values = own[own["metric"] == "rf_auc_pc"].groupby("row")["value"].mean()
        distance = own[own["metric"] == "dcr_p5"].groupby("row")["value"].mean()
        lines.append(
            f"- {name}: a forest tells the cells of `mixed` from real ones with an AUC of "
            f"{values['mixed']:.2f}\n  (real from real: {values['resampled']:.2f}; genes drawn one "
            f"by one: {values['independent_negative_binomial']:.2f}). They lie "
            f"{distance['mixed']:.2f} times as far\n  from the training cells as new real cells do."
        )
    return "\n".join(lines)


def scld_table(table: pd.DataFrame) -> str:
    """SCLD by guidance and post-guidance, means over seeds."""
    shown = {"rf_auc_pc": 3, "rf_auc_class": 3, "mmd_root": 3, "ilisi": 3, "label_kept": 3,
             "dcr_p5": 2}  # fmt: skip
    rows = []
    order = {name: place for place, name in enumerate((*SPACES, *FUSIONS))}
    table = table.sort_values(
        ["space", "fusion"], key=lambda names: names.map(order), kind="stable"
    )
    keys = ["space", "fusion", "cells", "guidance", "keep", "judged"]
    seeds = table.groupby(keys, sort=False)["seed"].nunique()
    means = table.groupby(keys, sort=False)[list(shown)].mean()
    for row in means.assign(seeds=seeds).reset_index().to_dict("records"):
        what = "decoded" if row["cells"] == "decoded" else f"w = {row['guidance']:g}"
        if row["keep"] < 1:
            what += f", best {row['keep']:.0%} kept"
        numbers = (f"{row[name]:.{digits}f}" for name, digits in shown.items())
        rows.append([row["space"], row["fusion"], what, row["judged"], *numbers, str(row["seeds"])])
    head = ["space", "fusion", "cells", "judged", "forest", "forest, class", "MMD", "iLISI", "kept",
            "DCR", "seeds"]  # fmt: skip
    return markdown(head, rows)


# The paper's forests on 68k PBMC: what, fusion, guidance, share kept, metric here, its AUC.
PAPER = (
    ("without pre-guidance (Table 3)", "add", -1, 1.0, "rf_auc_pc", 0.65),
    ("with pre-guidance, fused by addition (Tables 3, 4)", "add", 0, 1.0, "rf_auc_pc", 0.64),
    ("with pre-guidance, concatenated (Table 4)", "concatenate", 0, 1.0, "rf_auc_pc", 0.65),
    ("with pre-guidance, by attention (Table 4)", "attention", 0, 1.0, "rf_auc_pc", 0.68),
    ("with pre-guidance and post-guidance (Table 3)", "add", 0, 0.8, "rf_auc_pc", 0.59),
    # Clusters 1, 2, 3 and 6: 0.71, 0.68, 0.70 and 0.69.
    ("within a class, mean (Table 5)", "add", 0, 1.0, "rf_auc_class", 0.695),
)


def paper_table(table: pd.DataFrame) -> str:
    """The paper's forests beside those measured here, in the space that SCLD learns."""
    own = table[(table["judged"] == "own") & (table["cells"] == "new")]
    found = own.set_index(["space", "fusion", "guidance", "keep"])
    rows = []
    for what, fusion, guidance, keep, metric, value in PAPER:
        here = (
            found.loc[found.index == (space, fusion, guidance, keep), metric] for space in SPACES
        )
        rows.append([what, f"{value:.2f}", *(number(values, 2) for values in here)])
    return markdown(["SCLD", "paper, 68k PBMC", *(f"here, {space}" for space in SPACES)], rows)


def augment_table(table: pd.DataFrame) -> str:
    """Recall of the rare label and macro F1 of all, means over the cases, by cells left."""
    rows = []
    for number, own in table.groupby("n"):
        for remedy in REMEDIES:
            mine = own[own["remedy"] == remedy]
            if mine.empty:
                continue
            fields = [f"{number}", remedy, f"{mine[mine['space'] == 'pca'].shape[0]}"]
            for space in ("pca", "dice"):
                values = mine[mine["space"] == space]
                fields += [f"{values[name].mean():.2f}" for name in ("recall", "precision")]
                fields.append(f"{values['macro_f1'].mean():.3f}")
            rows.append(fields)
    head = ["cells left", "remedy", "runs", "PCA: recall", "precision", "macro F1",
            "DICE: recall", "precision", "macro F1"]  # fmt: skip
    return markdown(head, rows)


def size_table(table: pd.DataFrame) -> str:
    """Seconds and memory of the jobs, by cells."""
    rows = []
    for row in table[table["cpu_seconds"].notna()].to_dict("records"):
        rows.append([f"{row['cells']:,}", f"`{row['rule']}`", f"{row['jobs']:.0f}",
                     f"{row['cpu_seconds']:,.0f}", f"{row['memory_mib']:,.0f}"])  # fmt: skip
    return markdown(["cells", "rule", "jobs", "CPU seconds, all jobs", "MiB, largest job"], rows)


def depth_table(table: pd.DataFrame) -> str:
    """Labels that come back, by depth."""
    rows = []
    for depth, own in table.groupby("depth", sort=False):
        spaces = own.set_index("space")
        counts = own["median_counts"].iloc[0]
        fields = [f"{spaces.loc[space, name]:.3f}" for space in ("pca", "dice")
                  for name in ("accuracy", "macro_f1")]  # fmt: skip
        rows.append([f"{depth:g}", f"{counts:,.0f}", *fields])
    head = ["depth", "counts of a cell, median", "PCA: accuracy", "macro F1", "DICE: accuracy",
            "macro F1"]  # fmt: skip
    return markdown(head, rows)


def main() -> None:
    """Write the page again."""
    table = pd.read_csv(SCORES, sep="\t")
    page = PAGE.read_text()
    if SCLD.exists():
        page = replace_block(page, "paper", paper_table(pd.read_csv(SCLD, sep="\t")))
    for path, make in (
        (SCLD, scld_table), (AUGMENT, augment_table), (SIZE, size_table), (DEPTH, depth_table)
    ):  # fmt: skip
        if path.exists():
            page = replace_block(page, path.stem, make(pd.read_csv(path, sep="\t")))
    for name, make in (
        ("verdict", verdict), ("scores", score_tables), ("seconds", seconds_table)
    ):  # fmt: skip
        page = replace_block(page, name, make(table))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
