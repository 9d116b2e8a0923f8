"""The example configs, and those of the benchmark, on the real data of the development machines."""

import pandas as pd
import pytest

pytestmark = pytest.mark.workflow
EXAMPLES = ["pbmc4k_to_zheng", "pbmc4k_zheng_to_pbmc3k", "kang_8donors"]
# Enough training to be meaningful, and no stage that these tests do not look at.
QUICK = {
    "prior": {"overrides": {"draws": 2000}},
    "denoise": {"samples": 4, "shards": 2},
    "cluster": {"resolutions": [0.3, 0.6], "flavor": "igraph"},
    "qc": {"doublets": "off"},
}


@pytest.fixture(scope="module")
def copy(make_copy, shared):
    """A copy whose sheets name the shared data."""
    made = make_copy("examples")
    for folder in ("examples", "benchmark"):
        for sheet in (made.folder / "config" / folder).glob("*.tsv"):
            sheet.write_text(sheet.read_text().replace("/path/to", str(shared / "data")))
    return made


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(copy, example):
    planned = copy.planned("--configfile", f"config/examples/{example}.yaml")
    assert planned["write_atlas"] == 1


# Splits of one seed: of each set, of the sweeps' variants and of the scopes of each pair.
@pytest.mark.parametrize(("name", "splits"), [("full", 12 + 4 * 8 + 6 * 3), ("batches", 2 + 2 * 3)])
def test_configs_of_the_benchmark_are_valid(copy, name, splits):
    # Without scVI, whose environment is not that of the tests.
    methods = {"methods": ["pca", "dice_exact"], "seeds": 1, "sweeps": {"seeds": 1}}
    fewer = copy.config("fewer", benchmark=methods)
    config = f"config/benchmark/{name}.yaml"
    planned = copy.planned("--configfile", config, fewer, "--", "benchmark")
    assert planned["split_benchmark"] == splits


def test_labels_and_embedding_of_another_study_beat_the_baseline(copy):
    """pbmc4k -> sorted PBMC: logistic regression on 50 PCs reaches 0.851 (balanced 0.739)."""
    quick = copy.config("quick", **QUICK)
    example = "config/examples/pbmc4k_to_zheng.yaml"
    target = "results/pbmc4k_to_zheng/metrics.tsv"
    copy.run("--configfile", example, quick, "--", target)
    metrics = pd.read_csv(copy.folder / target, sep="\t")
    query = metrics[metrics["cells"] == "query"].drop_duplicates(["embedding", "metric"])
    value = query.set_index(["embedding", "metric"])["value"]
    for space in ("pca", "dice"):
        assert value[space, "accuracy"] > 0.9
        assert value[space, "balanced_accuracy"] > 0.9
        assert 0.8 < value[space, "set_coverage"] <= 1.0
    assert value["dice", "silhouette"] > value["pca", "silhouette"] + 0.05
    assert value["dice", "clisi"] < value["pca", "clisi"] - 0.015
    assert value["dice", "knn_accuracy"] > value["pca", "knn_accuracy"]
