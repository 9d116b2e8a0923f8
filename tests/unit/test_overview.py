"""What `check` says before a run."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.counts.overview import (
    MIB_PER_CELL,
    SECONDS_PER_CELL,
    START_MIB,
    START_SECONDS,
    overview,
    remarks,
)


@pytest.fixture
def paths(tmp_path):
    """Two samples: 60 labelled cells of 10 genes, and 5 cells that share 7 of their 14 genes."""
    made = []
    for name, role, n, genes, labels in (
        ("r", "reference", 60, range(10), ["B"] * 45 + ["T"] * 10 + [""] * 5),
        ("q", "query", 5, range(3, 17), [""] * 5),
    ):
        obs = pd.DataFrame({"sample": name, "role": role, "label": labels}, dtype=object)
        obs.index = [f"{name}_{i}" for i in range(n)]
        var = pd.DataFrame(index=[f"G{i}" for i in genes])
        data = ad.AnnData(sp.csr_matrix(np.ones((n, len(var)))), obs=obs, var=var)
        data.uns["source"] = {"format": "h5ad X"}
        data.write_h5ad(tmp_path / f"{name}.h5ad", convert_strings_to_categoricals=False)
        made.append(tmp_path / f"{name}.h5ad")
    return made


def test_each_sample_has_its_row(paths):
    table = overview(paths).table
    assert table.set_index("sample").loc["r"].tolist() == ["reference", "h5ad X", 60, 10, "70%", 55]
    assert table.set_index("sample").loc["q"].tolist() == ["query", "h5ad X", 5, 14, "50%", 0]


def test_what_may_be_wrong_is_named(paths):
    found = remarks(overview(paths))
    assert found[0] == "7 genes are in all samples."
    assert found[1].startswith("Look at r: 70% of its genes are in all samples.")
    assert found[2].startswith("Look at q: 50%")
    assert found[3] == "2 labels: B 45, T 10."
    assert found[4].endswith("coarse: T 10.")
    assert found[5].startswith("A whole run of 65 cells takes roughly 2 min of one core")
    truth = pd.Series(["T"] * 3 + ["B cell"] * 2)
    assert "lacks: B cell 2." in remarks(overview(paths), truth)[5]
    assert remarks(overview(paths), truth[:3]) == found


@pytest.mark.parametrize("label", ["unlabelled", "Unknown", "NA", "doublet", "low quality"])
def test_a_label_that_is_no_type_is_named(paths, label):
    data = ad.read_h5ad(paths[0])
    data.obs["label"] = data.obs["label"].astype(str).replace("T", label)
    data.write_h5ad(paths[0])
    found = remarks(overview(paths))
    assert any(text.startswith(f"Look at {label} 10: cells of the query would") for text in found)


def test_time_and_memory_are_those_of_the_benchmark(root):
    table = pd.read_csv(root / "docs/scale/100000.tsv", sep="\t")
    seconds = START_SECONDS + SECONDS_PER_CELL * 100_000
    assert seconds == pytest.approx(table["cpu_seconds"].sum(), rel=0.1)
    mib = START_MIB + MIB_PER_CELL * 100_000
    assert mib == pytest.approx(table["mib_largest"].max(), rel=0.1)
