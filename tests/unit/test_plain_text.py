"""Names of users are text in every figure and on the page, whatever characters they have."""

import contextlib
import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.benchmark import figures as benchmark
from dice_atlas.plots import style
from dice_atlas.report import figures
from dice_atlas.report.data import read_report_data
from matplotlib.text import Text

# What is a formula, or an error in one, to matplotlib, and what it leaves out of legends.
NAMES = ["$\\frac{x}$", "_T$ cell", "a^b_c", "back\\slash", "$x", "cost $5 and $6", "\\$", "%d {x}"]
RENAMED = dict(zip(["T cell", "B & <plasma>", "NA"], NAMES, strict=False))
# As a user's matplotlibrc might say.
STRANGE = {
    "font.size": 25,
    "axes.facecolor": "red",
    "savefig.facecolor": "blue",
    "text.color": "green",
    "axes.grid": True,
    "savefig.bbox": "tight",
    "lines.linewidth": 9,
    "text.parse_math": True,
    "xtick.labelsize": 30,
    "axes.formatter.use_mathtext": True,
}


@contextlib.contextmanager
def matplotlibrc(settings):
    with mpl.rc_context(settings):
        yield


def texts(figure):
    """All texts of a figure, after it was drawn."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture
def data(make_files):
    """The report's data, all names of which are strange."""
    data = read_report_data(make_files(), 2)
    samples = dict(zip(data.samples, NAMES[3:], strict=False))
    genes = {f"G{i}": f"{NAMES[i % len(NAMES)]}{i}" for i in range(12)}
    obs = data.obs.assign(
        cell_type=data.obs["cell_type"].replace(RENAMED),
        sample=data.obs["sample"].map(samples),
        batch=data.obs["batch"].replace({"a": "_$a$", "b": "$b_"}),
    )
    confusion = data.confusion.replace({"truth": RENAMED, "predicted": RENAMED})
    markers, expression = (
        table.assign(gene=table["gene"].map(genes)) for table in (data.markers, data.expression)
    )
    of_types = {
        "type_genes": data.type_genes.replace({"label": RENAMED}),
        "type_expression": data.type_expression.replace({"cell_type": RENAMED}),
    }
    of_qc = {name: getattr(data, name).replace({"sample": samples}) for name in ("qc", "qc_cells")}
    for name, value in {"obs": obs, "confusion": confusion, "markers": markers,
                        "expression": expression, **of_types, **of_qc}.items():  # fmt: skip
        setattr(data, name, value)
    for cached in ("labels", "samples", "query", "reference"):
        data.__dict__.pop(cached, None)
    return data


def test_names_are_text_in_every_figure_of_the_report(data, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = figures.draw(data, 2, tmp_path)
    assert len(paths) == 12
    kinds = set(RENAMED.values())
    for name, expected in {
        "umap_types": kinds,
        "composition": kinds,
        "clusters_by_type": kinds,
        "confusion": kinds,
        "umap_origin": {"_$a$", "$b_", *data.samples},
        "markers": set(data.expression["gene"]),
        "markers_by_type": kinds,
        "qc": set(data.samples),
    }.items():
        with style.styled():
            found = texts(figures.drawings(data, 2)[name]())
        for text in expected:
            assert any(text in one for one in found), f"{name}: {text} is in none of {found}"
        plt.close("all")


def test_axes_with_numbers_write_no_formulas(data):
    for name, drawing in figures.drawings(data, 2).items():
        with style.styled():
            found = texts(drawing())
        assert not [text for text in found if "mathdefault" in text], name
        plt.close("all")


def test_a_matplotlibrc_changes_no_figure(data, tmp_path):
    paths = figures.draw(data, 2, tmp_path / "plain")
    with matplotlibrc(STRANGE):
        figures.draw(data, 2, tmp_path / "strange")
        assert mpl.rcParams["font.size"] == 25
    for path in paths.values():
        assert path.read_bytes() == (tmp_path / "strange" / path.name).read_bytes(), path.name


def test_the_umaps_of_the_benchmark():
    labels = np.array(NAMES * 5, dtype=object)
    layouts = {"pca": np.random.default_rng(0).normal(size=(len(labels), 2))}
    scores = pd.DataFrame({"method": "pca", "metric": ["ari", "clisi"], "value": [0.5, 1.2]})
    with style.styled():
        found = texts(benchmark.umaps("set", layouts, labels, scores))
    assert set(NAMES) <= set(found)


def test_the_curves_of_the_benchmark_write_no_formulas():
    table = pd.DataFrame(
        {"protocol": "blind", "variant": "base", "set": "a_$b$", "method": "pca", "seed": 0,
         "resolution": [0.01, 0.1, 1.0, 10.0], "ari": [0.1, 0.5, 0.4, 0.2], "chosen": False}
    )  # fmt: skip
    with style.styled():
        found = texts(benchmark.curves(table, "blind", ["pca"]))
    assert {"0.01", "0.1", "1", "10", "a_$b$"} <= set(found)
    assert not [text for text in found if "mathdefault" in text]
