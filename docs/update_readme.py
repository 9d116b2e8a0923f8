"""Put the demo's metrics into README.md: run after `make demo`, by `make readme`."""

from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- demo metrics: start -->", "<!-- demo metrics: end -->"
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


def main() -> None:
    """Rewrite README.md in place."""
    results = ROOT / "results" / "demo"
    table = demo_table(pd.read_csv(results / "metrics.tsv", sep="\t"))
    readme = (ROOT / "README.md").read_text()
    head, rest = readme.split(START)
    tail = rest.split(END)[1]
    (ROOT / "README.md").write_text(f"{head}{START}\n{table}\n{END}{tail}")


if __name__ == "__main__":
    main()
