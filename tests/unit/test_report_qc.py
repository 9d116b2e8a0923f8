"""The figure of quality control: densities, limits, numbers removed, many samples."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.counts.criteria import METRICS, REASONS
from dice_atlas.files import write_table
from dice_atlas.report import qc
from dice_atlas.report.data import read_qc_cells
from factories import NO_QC
from matplotlib.colors import to_hex
from matplotlib.text import Text
from scipy.stats import gaussian_kde


def made(n, seed=0, cells=150):
    """Cells and qc.tsv of n samples: in sample i, i + 5 cells had few genes, and 2 are doublets."""
    rng = np.random.default_rng(seed)
    tables, rows = [], []
    for i in range(n):
        reason = np.full(cells, "", dtype=object)
        reason[: i + 5], reason[-2:] = "min_genes", "doublet"
        table = pd.DataFrame({
            "sample": f"s{i}", "n_genes": np.where(reason == "min_genes", 90, 400 + 10 * i)
            + rng.integers(0, 100, cells), "total_counts": rng.integers(500, 5000, cells),
            "percent_mito": np.where(np.arange(cells) == cells - 1, 80, rng.uniform(0, 10, cells)),
            "percent_ribo": rng.uniform(10, 30, cells), "percent_spike": 0.0,
            "doublet_score": rng.uniform(0, 0.2, cells), "kept": reason == "",
        })  # fmt: skip
        tables.append(table)
        counted = {f"removed_{name}": int((reason == name).sum()) for name in REASONS}
        rows.append({
            "sample": f"s{i}", "genes_measured": 9, "cells_in": cells,
            "cells_kept": int(table["kept"].sum()), **counted,
            **{f"median_{metric.short}": 1.0 for metric in METRICS}, "doublet_rate": 0.01,
            "doublet_threshold": 0.15, **NO_QC, "min_genes": 200 + i, "max_mito_percent": 12,
            "n_mads": np.nan, "doublets": "remove",
        })  # fmt: skip
    return pd.concat(tables, ignore_index=True), pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_density_is_that_of_a_gaussian_kernel():
    values = np.random.default_rng(1).gamma(6, 2, 800)
    width = qc.bandwidth(values)
    spread = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    assert width == pytest.approx(0.9 * min(values.std(), spread) * 800**-0.2)
    found = qc.density(values, 0.0, 50.0, width)
    middles = (np.arange(qc.GRID) + 0.5) * 50.0 / qc.GRID
    expected = 800 * gaussian_kde(values, width / values.std(ddof=1))(middles)
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())
    assert found.sum() * 50.0 / qc.GRID == pytest.approx(800)


def test_all_samples_share_a_scale_that_few_cells_do_not_squeeze():
    cells, table = made(3)
    low, high = qc.axis_range(cells, "n_genes", [])
    assert low < cells["n_genes"].min()
    assert high > cells["n_genes"].max()
    # One cell of each sample has 80 %, of which 12 are allowed.
    assert qc.axis_range(cells, "percent_mito", [12.0]) == (0.0, pytest.approx(1.03 * 24))
    figure = qc.qc_figure(cells, table)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == ["Genes per cell", "Counts per cell", "Mitochondrial\ncounts (%)",
                            "Ribosomal\ncounts (%)", "Doublet score", ""]  # fmt: skip
    axes = panels["Genes per cell"]
    # A line in each row at its own limit.
    lines = [(line[0][0], line[:, 1].mean()) for c in axes.collections if c.get_linewidth()[0] > 1
             for line in c.get_segments()]  # fmt: skip
    assert lines == [(200.0, 0.0), (201.0, 1.0), (202.0, 2.0)]
    assert axes.get_xlabel() == "limits: 200 to 202"
    assert panels["Mitochondrial\ncounts (%)"].get_xlabel() == "limit: 12"


def test_removed_cells_are_counted_by_reason():
    cells, table = made(2)
    numbers = qc.qc_figure(cells, table).axes[-1]
    heads = [text.get_text() for text in numbers.get_xticklabels()]
    assert heads == ["cells\nbefore", "few\ngenes", "%\nmito.", "doublet", "cells\nkept"]
    found = [text.get_text() for text in numbers.texts if text.get_text() != "removed"]
    assert found == ["150", "5", "0", "2", "143", "150", "6", "0", "2", "142"]
    tidy = qc.qc_tidy(cells, table).set_index(["sample", "panel", "series", "what"])["value"]
    assert tidy["s1", "cells", "removed: few genes", "cells"] == 6
    kept = cells[(cells["sample"] == "s1") & cells["kept"]]["n_genes"]
    assert tidy["s1", "Genes per cell", "kept", "median"] == np.median(kept)
    assert tidy["s1", "Genes per cell", "kept", "p95"] == pytest.approx(np.quantile(kept, 0.95))
    assert tidy["s1", "Genes per cell", "limit", "limit"] == 201


@pytest.mark.parametrize("n", [1, qc.MOST_VIOLINS, qc.MOST_VIOLINS + 1])
def test_samples_get_violins_or_boxes(n):
    cells, table = made(n)
    axes = qc.qc_figure(cells, table).axes[0]
    faces = [c.get_facecolor()[0] for c in axes.collections if len(c.get_facecolor())]
    violins = [face for face in faces if to_hex(face) == qc.BLUE.lower()]
    assert len(violins) == (n if n <= qc.MOST_VIOLINS else 0)
    # Two boxes of three parts in a row, or the median alone.
    assert len(axes.lines) == (n if n <= qc.MOST_VIOLINS else 6 * n)
    assert [text.get_text() for text in axes.get_yticklabels()] == [f"s{i}" for i in range(n)]


def test_of_very_many_samples_those_that_lost_most_are_drawn(monkeypatch):
    monkeypatch.setattr(qc, "MOST_SAMPLES", 4)
    cells, table = made(7)
    figure = qc.qc_figure(cells, table)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["s3", "s4", "s5", "s6"]
    assert set(qc.qc_tidy(cells, table)["sample"]) == {f"s{i}" for i in range(7)}


def test_what_was_not_computed_is_said_and_left_out_where_nobody_has_it():
    cells, table = made(2)
    cells.loc[cells["sample"] == "s1", "total_counts"] = np.nan
    cells["doublet_score"] = np.nan
    figure = qc.qc_figure(cells, table)
    assert [axes.get_title(loc="left") for axes in figure.axes][-2:] == [
        "Ribosomal\ncounts (%)",
        "",
    ]
    assert [text.get_text() for text in figure.axes[1].findobj(Text)].count("not computed") == 1
    # Most experiments have no spike-ins.
    assert "percent_spike" not in qc.metrics_of(cells)
    assert "percent_spike" in qc.metrics_of(cells.assign(percent_spike=1.0))
    one_value = cells.assign(percent_ribo=0.0, total_counts=1.0)
    qc.qc_figure(one_value, table).canvas.draw()


def test_cells_of_all_samples_are_read_in_order(tmp_path):
    cells, _ = made(2)
    paths = [tmp_path / name for name in ("b.tsv.gz", "a.tsv.gz")]
    for path, sample in zip(paths, ("s1", "s0"), strict=True):
        own = cells[cells["sample"] == sample].drop(columns="sample")
        write_table(own.assign(cell="x", reason=""), path)
    joined = read_qc_cells(paths, ["b", "a"])
    assert joined["sample"].tolist() == ["b"] * 150 + ["a"] * 150
    expected = pd.concat([cells[150:], cells[:150]], ignore_index=True)
    assert joined["kept"].tolist() == expected["kept"].tolist()
    for name in ("n_genes", "percent_mito", "doublet_score"):
        np.testing.assert_allclose(joined[name], expected[name], rtol=1e-5)
