"""Put the demo's metrics and those of the benchmarks into README.md, by `make readme`."""

from pathlib import Path

import pandas as pd
from update_annotation import celltypist, means, percent, read
from update_benchmarks import markdown, rewrite

ROOT = Path(__file__).resolve().parents[1]
SEPARATION = {
    "silhouette": "silhouette (cosine) ↑",
    "clisi": "cLISI ↓",
    "ari_reference": "ARI of clusters, resolution chosen by the reference ↑",
    "ari": "ARI of clusters found without labels ↑",
    "knn_accuracy": "accuracy of 15 nearest reference cells ↑",
}
TRANSFER = {
    "accuracy_top": "accuracy of the best label, all query cells ↑",
    "accuracy": "accuracy, unassigned cells counted as wrong ↑",
    "accuracy_assigned": "accuracy where a label is assigned ↑",
    "unassigned": "share unassigned",
    "set_coverage": "prediction sets that hold the truth (0.9 asked)",
    "set_size": "mean size of a prediction set ↓",
}


def demo_table(metrics: pd.DataFrame) -> str:
    """The query metrics of the demo, by space and voter, as a Markdown table."""
    query = metrics[metrics["cells"] == "query"].drop_duplicates(["embedding", "metric"])
    values = query.set_index(["embedding", "metric"])["value"]
    lines = [
        "| metric (protocol `blind`, 349 query cells) | PCA | DICE | linear | consensus |",
        "|---|---|---|---|---|",
    ]
    for metric, title in {**SEPARATION, **TRANSFER}.items():
        shown = ["pca", "dice", *(["linear", "consensus"] if metric in TRANSFER else [])]
        row = [f"{values[name, metric]:.3f}" for name in shown]
        lines.append(f"| {' | '.join([title, *row, *[''] * (4 - len(row))])} |")
    return "\n".join(lines)


def how_good(scores: pd.DataFrame) -> str:
    """Labels and embedding beside others, as a Markdown table.

    Parameters
    ----------
    scores : docs/comparison/by_set.tsv.
    """
    right = means(read("annotation")).set_index("voter")["accuracy"].map(percent)
    own = scores[(scores["protocol"] == "blind") & (scores["value"] == "mean")]
    mean = own.pivot(index="metric", columns="method", values="mean")

    rivals = {"lda": "LDA*", "magic": "MAGIC", "alra": "ALRA", "pca": "PCA"}
    titles = {
        "clisi": "separation of the types: cLISI ↓",
        "silhouette": "separation of the types: silhouette ↑",
        "ari_reference": "clusters match the types, resolution chosen by the reference: ARI ↑",
        "ari": "clusters match the types, found without labels: ARI ↑",
    }
    beside = f"Seurat's method (voter `pca`) {right['pca']}, CellTypist {celltypist()}"
    rows = [["cells with the right label ↑", right["consensus"], beside]]
    for metric, title in titles.items():
        row = mean.loc[metric]
        beside = ", ".join(f"{name} {row[method]:.3f}" for method, name in rivals.items())
        rows.append([title, f"{row['dice_exact']:.3f}", beside])
    return markdown(["", "dice-atlas", "others"], rows).replace("~%", " %")


def main() -> None:
    """Rewrite README.md in place."""
    blocks = {"how good": how_good(pd.read_csv(ROOT / "docs/comparison/by_set.tsv", sep="\t"))}
    demo = ROOT / "results/demo/metrics.tsv"
    if demo.exists():
        blocks["demo metrics"] = demo_table(pd.read_csv(demo, sep="\t"))
    rewrite(ROOT / "README.md", blocks)


if __name__ == "__main__":
    main()
