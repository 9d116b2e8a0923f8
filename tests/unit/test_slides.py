"""Figures for slides: text as text, points as one image, the data beside, the same bytes again."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.files import write_table
from dice_atlas.plots import style
from dice_atlas.report import maps, slides
from dice_atlas.report.data import read_report_data

SVG = "{http://www.w3.org/2000/svg}"
SETTINGS = slides.SlideSettings.from_config(
    {"formats": ["svg"], "dpi": 60, "width": 7.4, "names": "all"}
)
MAPS = {"umap_types", "umap_origin", "umap_confidence"}


@pytest.fixture
def files(make_files):
    return make_files()


def table(folder, name):
    return pd.read_csv(folder / f"{name}.tsv", sep="\t", dtype={"cluster": str}, na_filter=False)


def texts(path):
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]


def test_figures_for_slides_are_complete_readable_and_their_data_true(files, tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    # Drawn once for all that is looked at: this takes seconds.
    data = read_report_data(files, 2)
    slides.write_slides(data, 2, folder, SETTINGS)
    every_figure_is_there_as_vector_with_its_data(folder)
    letters_stay_letters_and_points_are_one_image(folder)
    the_data_are_what_is_drawn(data, folder)


def every_figure_is_there_as_vector_with_its_data(folder):
    whole = {"composition", "qc", "markers_by_type", "fit_and_training", "resolutions", "confusion",
             "clusters_by_type", "markers", "reliability", *MAPS}  # fmt: skip
    single = {f"umap_{name}" for name in (
        "cell_type", "cluster", "sample", "batch", "role", "cell_type_score", "cell_type_entropy",
        "dice_uncertainty",
    )}  # fmt: skip
    for suffix in ("svg", "tsv"):
        assert {path.stem for path in folder.glob(f"*.{suffix}")} == whole | single
    # The others are the page's own.
    assert {path.stem for path in folder.glob("*.png")} == single
    for name in whole | single:
        assert len(table(folder, name)) > 0, name


def letters_stay_letters_and_points_are_one_image(folder):
    path = folder / "umap_types.svg"
    found = texts(path)
    for text in ("Cell type", "Cluster", "B & <plasma>", "UMAP 1"):
        assert text in found
    # Each panel's points are one image: its size does not grow with the cells.
    images = list(ElementTree.parse(path).iter(f"{SVG}image"))
    assert len(images) == 2
    assert path.stat().st_size < 200_000
    assert not re.search(r"\d{4}-\d\d-\d\dT", re.sub(r"base64,\S+", "", path.read_text()))


def the_data_are_what_is_drawn(data, folder):
    cells = table(folder, "umap_types").set_index("cell")
    assert sorted(cells.index) == sorted(data.obs.index)
    assert cells["cell_type"].to_dict() == data.obs["cell_type"].to_dict()
    np.testing.assert_allclose(
        cells[["umap1", "umap2"]], data.umap[data.obs.index.get_indexer(cells.index)], rtol=1e-6
    )
    with style.styled():
        figure = maps.umap_types(data, 0, "cluster")
    assert len(figure.axes) == 1
    offsets = [points.get_offsets() for points in figure.axes[0].collections]
    np.testing.assert_allclose(np.concatenate(offsets), cells[["umap1", "umap2"]], rtol=1e-6)
    plt.close(figure)
    bars = table(folder, "composition")
    assert bars["cells"].sum() == len(data.obs)
    np.testing.assert_allclose(bars.groupby("sample")["share"].sum(), 1.0)
    crossed = table(folder, "clusters_by_type").set_index(["cluster", "cell_type"])["cells"]
    one = (data.obs["cluster"] == "1") & (data.obs["cell_type"] == data.labels[0])
    assert crossed["1", data.labels[0]] == one.sum()
    # The numbers of the heat map stand in the file.
    shown = {text for text in texts(folder / "clusters_by_type.svg") if text.isdigit()}
    assert {str(n) for n in crossed if n} <= shown
    lines = table(folder, "fit_and_training")
    drawn = lines[(lines["panel"] == "Singular values")].iloc[:20]
    np.testing.assert_allclose(drawn["y"].astype(float), data.singular_values, rtol=1e-6)
    histogram = table(folder, "reliability")
    scores = histogram[histogram["panel"] == "Scores of the query cells"]
    assert scores[scores["series"].str.contains("assigned")]["y"].sum() == len(data.query)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_equal_figures_are_equal_files(files, tmp_path, suffix):
    data = read_report_data(files, 2)
    for name in ("a", "b"):
        figure = maps.umap_types(data, 0)
        slides.save(figure, tmp_path / f"{name}.{suffix}", 50)
        plt.close(figure)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_no_format_no_files(files, tmp_path):
    data = read_report_data(files, 2)
    slides.write_slides(data, 2, tmp_path / "none", replace(SETTINGS, formats=()))
    assert not (tmp_path / "none").exists()


def test_fifty_thousand_cells_stay_small(files, tmp_path):
    data = read_report_data(files, 2)
    rows = np.random.default_rng(0).integers(0, len(data.obs), 50_000)
    data.obs = data.obs.iloc[rows].set_axis([f"c{i}" for i in range(len(rows))])
    noise = np.random.default_rng(1).normal(0, 0.5, (len(rows), 2))
    data.umap = (data.umap[rows] + noise).astype(np.float32)
    figure = maps.umap_types(data, 0)
    slides.save(figure, tmp_path / "map.svg", 300)
    plt.close(figure)
    write_table(slides.table_of("umap_types", figure, data), tmp_path / "map.tsv")
    assert (tmp_path / "map.svg").stat().st_size < 4_000_000
    assert len(pd.read_csv(tmp_path / "map.tsv", sep="\t")) == 50_000
