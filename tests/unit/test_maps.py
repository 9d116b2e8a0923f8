"""Names on maps can be read, wherever they are; widths, names and colours that a user asks for."""

import logging

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.plots import categories, placement, style
from dice_atlas.report import figures, html, maps, stages
from dice_atlas.report.data import genes_of_types, read_report_data
from matplotlib.colors import to_rgb
from report_files import CONFIG

# Names of the demo, and the middles of their cells on its map.
DEMO = {
    "Dendritic": (-6, 2), "CD14+ Monocyte": (-4, -4), "CD19+ B": (3, -3),
    "CD4+/CD25 T Reg": (3.4, 0.2), "CD8+ Cytotoxic T": (3.9, 1.2), "CD56+ NK": (4.2, 3),
    "CD8+/CD45RA+ Naive Cytotoxic": (4.6, 0.1), "CD4+/CD45RO+ Memory": (2.9, 0.4),
    "CD4+/CD45RA+/CD25- Naive T": (3.5, -2.4),
}  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def contrast(one, other):
    """WCAG 2.1."""
    light = []
    for color in (one, other):
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722])
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("width", [3.5, 5.6], ids=["a column", "half a page"])
def test_names_like_the_demo_s_lie_beside_the_cells(width):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(middle, 0.5, (60, 2)) for middle in DEMO.values()])
    with style.styled():
        figure, axes = plt.subplots(figsize=(width, width), layout="none")
        axes.set(xlim=(-9, 9), ylim=(-9, 9))
        texts = placement.write_names(axes, {k: np.array(v) for k, v in DEMO.items()}, points)
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in texts]
        lines = [axes.transData.transform(line.get_xydata()) for line in axes.lines
                 if line.get_color() == style.SOFT and len(line.get_xydata()) == 2]  # fmt: skip
    places, frame = axes.transData.transform(points), axes.get_window_extent()
    covered = []
    for i, box in enumerate(boxes):
        inside = ((places > [box.x0, box.y0]) & (places < [box.x1, box.y1])).all(axis=1)
        covered.append(inside.sum())
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
    # With one line each, tried nearby and chosen once, 18 of a name and 47 or more of all were.
    assert max(covered) <= 5
    assert sum(covered) <= 15
    for i, (a, b) in enumerate(lines):
        for c, d in lines[:i]:
            assert not placement.crosses(b[None], a, d[None], c)[0]


def test_a_name_over_points_of_any_colour_can_be_read():
    with style.styled():
        _, axes = plt.subplots()
        (text,) = placement.write_names(axes, {"A": np.array([0.5, 0.5])})
    patch = text.get_bbox_patch()
    assert (patch.get_facecolor()[:3], patch.get_alpha()) == ((1, 1, 1), placement.VEIL)
    for color in (*style.TYPE_COLORS, *style.CLUSTER_COLORS, style.UNASSIGNED_COLOR, "#000000"):
        assert contrast(style.INK, style.mixed(color, placement.VEIL, "white")) > 7


def test_lines_cross_and_enter_boxes_where_they_do():
    start, ends = np.zeros(2), np.array([[10.0, 10.0], [10.0, -10.0], [4.0, 4.0]])
    crossed = placement.crosses(ends, start, np.array([[0.0, 10.0]]), np.array([10.0, 0.0]))
    assert crossed.tolist() == [True, False, False]
    box = np.array([6.0, 6.0]), np.array([2.0, 2.0])
    assert placement.enters(ends, start[None], *box).tolist() == [True, False, False]
    upright = np.array([[6.0, 20.0], [8.0, 20.0]])
    assert placement.enters(upright, upright * [1, 0], *box).tolist() == [True, False]


def test_long_names_are_broken_where_they_can_be():
    assert placement.in_lines("CD14+ Monocyte") == "CD14+ Monocyte"
    assert placement.in_lines("CD8+/CD45RA+ Naive Cytotoxic") == "CD8+/CD45RA+\nNaive Cytotoxic"
    assert placement.in_lines("a" * 30) == "a" * 30
    for name in DEMO:
        assert placement.in_lines(name).replace("\n", " ").replace("/ ", "/") == name


def test_a_line_leads_to_a_cell():
    cloud = np.random.default_rng(0).normal(size=(4, 2))
    assert (placement.densest(cloud) == cloud).all(axis=1).any()


def test_maps_have_the_width_and_the_names_that_are_asked_for(make_files):
    data = read_report_data(make_files(), 2)
    assert maps.named(["a", "b", "c"], maps.names_asked("all")) == ["a", "b", "c"]
    assert maps.named(["a", "b", "c"], maps.names_asked(2)) == ["a", "b"]
    assert maps.named(["a", "b", "c"], maps.names_asked(["c", "a", "x"])) == ["a", "c"]
    for column, draw in (("cell_type", maps.umap_types), ("sample", maps.umap_origin),
                         ("cell_type_score", maps.umap_confidence)):  # fmt: skip
        assert draw(data, 0, column, width=3.5).get_size_inches()[0] == pytest.approx(3.5)
    for asked, expected in ((None, set(data.labels)), (1, {data.labels[0]}), (("NA",), {"NA"})):
        axes = maps.umap_types(data, 0, "cell_type", names=asked).axes[0]
        assert {text.get_text() for text in axes.texts} == expected


def test_a_colour_that_is_chosen_is_swapped_with_its_owner():
    first, second, third = style.TYPE_COLORS[:3]
    obs = pd.DataFrame({"cell_type": ["T", "T", "T", "B", "B", "NK"], "sample": "T",
                        "cell_type_best": ["T", "T", "T", "B", "B", "DC"]})  # fmt: skip
    found = categories.category_colors(obs, {"B": first.lower(), "DC": "#123456", "no": "#000000"})
    # T had the colour that B was given, and gets B's.
    assert found["cell_type"].items() >= {"T": second, "B": first, "NK": third}.items()
    assert found["cell_type_best"].items() >= {"T": second, "DC": "#123456"}.items()
    assert "no" not in found["cell_type"]
    assert found["sample"] == categories.category_colors(obs)["sample"]


def test_shades_are_those_of_a_parent_s_chosen_colour():
    types = [f"T {i}" for i in range(13)]
    obs = pd.DataFrame({"cell_type": types, "cell_type_at_1": ["T"] * 12 + ["B"]})
    found = categories.category_colors(obs, {"T": "#AA0000", "T 3": "#00FF00"})["cell_type"]
    assert found["T 3"] == "#00FF00"
    r, g, b = to_rgb(found["T 0"])
    assert g == b == 0.0 < r < 0.6  # the darkest shade


def test_labels_that_no_cell_has_are_named_in_page_and_log(
    make_files,
    tmp_path,
    monkeypatch,
    caplog,
):
    monkeypatch.setattr(figures, "DPI", 50)
    monkeypatch.setitem(CONFIG, "figures", {"palette": {"NA": "#abcdef", "nobody": "#000000"}})
    data_files, expected = make_files(), "B & <plasma>, NA, T cell"
    settings = html.ReportSettings.from_config(CONFIG["report"], 0, {}, ["NA", "x"])
    data = read_report_data(data_files, settings.n_markers)
    with caplog.at_level(logging.WARNING):
        html.write_report(data, data_files, tmp_path / "a.html", tmp_path / "a", settings, "small")
    text = (tmp_path / "a.html").read_text()
    for setting, name in (("figures.palette", "nobody"), ("figures.names", "x")):
        said = f"{setting}: seen {name}, which no cell has as a label; expected some of "
        assert said in text
        assert said in caplog.text
    assert set(expected.split(", ")) <= set(categories.labels_of(data.obs))
    # The colour has reached the page's map.
    assert "#ABCDEF" in text
    assert "#000000" not in data.colors["cell_type"].values()


def test_dots_by_type_are_genes_of_the_labels_in_the_order_of_the_types(make_files):
    data = read_report_data(make_files(), 2)
    genes, each = stages.type_dot_genes(data, 2)
    table = data.label_genes[(data.label_genes["against"] == "all others")]
    expected = [g for label in data.labels for g in table[table["label"] == label]["gene"].head(2)]
    assert (genes, each) == (list(dict.fromkeys(expected)), 2)
    figure = stages.type_dots(data, 2)
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert [name.rsplit(" (")[0] for name in names] == [*data.labels, "unassigned"]
    dots = axes.collections[0]
    x, y = dots.get_offsets().T.astype(int)
    drawn = data.type_expression.set_index(["cell_type", "gene"])["share"]
    order = [*data.labels, "unassigned"]
    for size, i, j in zip(dots.get_sizes(), x, y, strict=True):
        assert size == pytest.approx(stages.DOT * drawn[order[j], genes[i]])


def test_genes_of_types_come_from_what_the_run_has():
    markers = pd.DataFrame({"cluster": ["1", "0", "0"], "rank": [1, 2, 1], "gene": ["c", "b", "a"],
                            "log2_fold_change": 1.0})  # fmt: skip
    labels = pd.DataFrame({"label": "T", "rank": [1, 2, 1], "gene": ["x", "y", "z"],
                           "against": ["all others"] * 2 + ["B"]})  # fmt: skip
    lists = pd.DataFrame({"type": ["B", "B", "NK"], "sign": [1, -1, 1], "found": ["p", "q", ""]})
    tables = {"markers": markers, "label_genes": labels, "marker_genes": lists}
    assert genes_of_types(tables, 2).to_numpy().tolist() == [["T", "x"], ["T", "y"]]
    tables["label_genes"] = None
    assert genes_of_types(tables, 2).to_numpy().tolist() == [["B", "p"]]
    tables["marker_genes"] = None
    assert genes_of_types(tables, 1).to_numpy().tolist() == [["", "a"], ["", "c"]]
