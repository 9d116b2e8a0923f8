"""20,000 made cells with the limits lowered: what is approximated, and that it is said."""

import json

import anndata as ad
import pandas as pd
import pytest
from dice_atlas.counts.demo import demo_counts
from runs import run_workflow
from scale import make_samples

pytestmark = pytest.mark.workflow
REFERENCE, SAMPLES, CELLS = 5_000, 1, 15_000
EXACT, SKETCH = 10_000, 5_000
LOWERED = {
    "annotate": {"per": "sample", "exact_up_to": EXACT, "voters": ["dice", "linear"]},
    "cluster": {"exact_up_to": EXACT, "flavor": "igraph", "choose": 0.5, "resolutions": [0.5]},
    "scale": {"sketch": SKETCH},
    "denoise": {"samples": 4, "shards": 2},
    "qc": {"min_genes": 50, "doublets": "off"},
    "figures": {"formats": []},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many_cells")
    sheet = make_samples(demo_counts(), "cell_type", REFERENCE, SAMPLES, CELLS, folder)
    run_workflow(folder, sheet, {"atlas": "many", **LOWERED}, 2)
    return folder / "results/many"


def test_labels_of_many_cells_are_as_good_as_those_of_few(results):
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t")
    query = metrics[metrics["cells"] == "query"].drop_duplicates(["embedding", "metric"])
    value = query.set_index(["embedding", "metric"])["value"]
    # Made cells are sums of two: their types are told apart better than real ones.
    assert value["consensus", "accuracy"] > 0.85
    assert value["consensus", "set_coverage"] > 0.85


def test_what_was_approximated_is_told(results):
    atlas = ad.read_h5ad(results / "atlas.h5ad", backed="r")
    assert atlas.n_obs == REFERENCE + SAMPLES * CELLS
    told, page = list(atlas.uns["dice_atlas"]["approximations"]), results / "report.html"
    for part in ("graph of the clusters and the map", "label transfer", f"{SKETCH:,} cells"):
        assert any(part in one for one in told)
    assert all(one in page.read_text() for one in told)
    notes = pd.read_csv(results / "metrics.tsv", sep="\t")["note"].dropna()
    assert notes.str.contains(f"{SKETCH:,}").any()
    assert json.loads(atlas.uns["dice_atlas"]["config"])["annotate"]["per"] == "sample"
