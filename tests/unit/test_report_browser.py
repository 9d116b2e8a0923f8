"""The report in a headless Chromium: what a reader clicks, types and sees."""

import base64
import importlib.util
import io
import json
import os
import re
import shutil
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from dice_atlas.names import NO_DOUBT
from dice_atlas.report import figures, html
from dice_atlas.report.data import read_report_data, top_markers
from PIL import Image
from pypdf import PdfReader
from report_files import CONFIG, make_report_files

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SVG = "{http://www.w3.org/2000/svg}"
WHY = {
    not CHROMIUM: "no chromium on this machine (Debian: apt-get install chromium)",
    importlib.util.find_spec("playwright")
    is None: "playwright is not installed (make .venv/.ready-dev)",
}
pytestmark = pytest.mark.skipif(any(WHY), reason=WHY.get(True, ""))


@pytest.fixture(scope="module")
def report(tmp_path_factory, root):
    """A page, and the data that it was made of."""
    folder = tmp_path_factory.mktemp("browser")
    files = make_report_files(folder, root)
    settings = html.ReportSettings.from_config(CONFIG["report"], 0, {})
    page, data = folder / "report.html", read_report_data(files, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 50)
        html.write_report(data, files, page, folder / "figures", settings, "small")
    return page, data


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # No name of a host is resolved: a page that asked for something would fail.
        started = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--host-resolver-rules=MAP * ~NOTFOUND"] + ["--no-sandbox"] * (os.geteuid() == 0),
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser, report):
    """Opens the page; in the end nothing may have been asked for, and nothing have gone wrong."""
    contexts, troubles = [], []

    def opened(hash_="", width=1440, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on(
            "request",
            lambda request: (
                re.match("(file|data|blob):", request.url)
                or troubles.append(f"request: {request.url}")
            ),
        )
        page.goto(f"file://{report[0]}{hash_}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=all]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def picture(page):
    """The pixels of the map, whatever the browser has shown of them so far."""
    return page.evaluate("document.getElementById('map').toDataURL()")


def selected(page):
    page.wait_for_selector("#inspector:not([hidden])")
    return int(page.inner_text("#selected-count").replace(",", ""))


def selection(*conditions):
    return "#select=" + quote(json.dumps([[list(one) for one in conditions]]))


def test_the_first_screen_has_the_answer_the_list_and_the_map(open_page, report):
    page, (_, data) = open_page(), report
    assert page.inner_text(".answer").startswith("126 of 140 query cells got one of 3 cell types.")
    assert page.inner_text(".facts div:first-child strong") == "240"
    counts = data.obs["cell_type"].value_counts()
    legend = {
        button.get_attribute("data-value"): int(button.locator(".number").inner_text())
        for button in page.locator("#legend .value").all()
    }
    assert legend == counts.to_dict()
    for place in ("#map", "#look", "#legend", ".answer"):
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900
    assert page.locator("#look li").count() >= 5
    assert not page.locator("img.static, .static img").first.is_visible()


def test_a_gene_changes_the_colours_and_an_unknown_one_is_told(open_page):
    page = open_page()
    before = picture(page)
    page.fill("#gene", "g7")
    page.press("#gene", "Enter")
    page.wait_for_selector("#legend .ramp")
    assert picture(page) != before
    assert page.evaluate("location.hash") == "#color=G7"
    page.fill("#gene", "XYZ")
    page.press("#gene", "Enter")
    assert "XYZ is not among the 12 genes" in page.inner_text("#gene-note")
    page.fill("#gene", "")
    page.press("#gene", "Enter")
    page.wait_for_selector("#legend button")
    assert picture(page) == before


def test_esc_in_the_box_of_genes_brings_back_the_colours_before(open_page):
    page = open_page(selection(("cluster", ["1"])))
    page.select_option("#color-by", "cluster")
    page.wait_for_selector("#legend button[data-value='1']")
    before, chosen = picture(page), selected(page)
    page.fill("#gene", "g7")
    page.press("#gene", "Enter")
    page.wait_for_selector("#legend .ramp")
    page.press("#gene", "Escape")
    page.wait_for_selector("#legend button[data-value='1']")
    assert (page.input_value("#gene"), page.input_value("#color-by")) == ("", "cluster")
    assert (picture(page), selected(page)) == (before, chosen)


def test_the_legend_selects_adds_and_clears(open_page, report):
    page, (_, data) = open_page(), report
    counts = data.obs["cell_type"].value_counts()
    before = picture(page)
    page.click("#legend button[data-value='T cell']")
    assert selected(page) == counts["T cell"]
    page.wait_for_selector("#top-genes table")
    assert picture(page) != before
    page.click("#legend button[data-value='unassigned']", modifiers=["Shift"])
    page.wait_for_selector(f"#selected-count:text-is('{counts['T cell'] + counts['unassigned']}')")
    assert "cell type: T cell + cell type: unassigned" in page.inner_text("#selected-name")
    page.keyboard.press("Escape")
    page.wait_for_selector("#inspector", state="hidden")
    assert picture(page) == before


def test_the_panel_has_the_share_of_cells_with_each_gene(open_page, report):
    import anndata as ad

    page, (path, data) = open_page(selection(("cell_type", ["T cell"]))), report
    page.wait_for_selector("#top-genes table")
    rows = [row.split("\t") for row in page.inner_text("#top-genes tbody").splitlines()]
    chosen = (data.obs["cell_type"] == "T cell").to_numpy()
    there = ad.read_h5ad(path.with_name("atlas.h5ad")).X.toarray() > 0
    inside, outside = there[chosen].mean(axis=0), there[~chosen].mean(axis=0)
    order = np.argsort(-np.abs(inside - outside), kind="stable")[:10]
    assert [row[0] for row in rows] == [f"G{j}" for j in order]
    for row, j in zip(rows, order, strict=True):
        shown = [float(text.strip("%")) for text in row[1:]]
        np.testing.assert_allclose(shown, 100 * np.array([inside[j], outside[j]]), atol=0.501)
    query = data.query[data.query["cell_type"] == "T cell"]
    sure = (query["cell_type_doubt"] == NO_DOUBT).mean()
    expected = (
        f"{len(query)} query cells: mean score {query['cell_type_score'].mean():.2f}, {sure:.0%} "
    )
    assert page.inner_text("#confidence-line").startswith(expected)


def test_matrices_tables_and_the_list_select_their_cells(open_page, report):
    page, (_, data) = open_page(), report
    for table in ("Query cells by truth and label", "Cells by cluster and cell type"):
        fields = page.locator(f"[aria-label='{table}'] td.n .pick")
        assert fields.count() > 2
        fields.first.click()
        assert selected(page) == int(fields.first.inner_text())
    page.locator("[aria-label='Cell types']").get_by_role("button", name="NA", exact=True).click()
    page.wait_for_selector(f"#selected-count:text-is('{(data.obs['cell_type'] == 'NA').sum()}')")
    entry = page.locator("#look li", has_text="have a reason for doubt")
    entry.locator("button").click()
    doubts = (data.query["cell_type_doubt"] != NO_DOUBT).sum()
    page.wait_for_selector(f"#selected-count:text-is('{doubts}')")
    # It colours too, in plain words, and pressed again it still shows them.
    assert page.input_value("#color-by") == "cell_type_doubt"
    said = page.inner_text("#legend button[data-value='several_labels'] .name")
    assert said == "several labels"
    entry.locator("button").click()
    page.wait_for_timeout(100)
    assert selected(page) == doubts
    assert entry.inner_text().splitlines()[1].startswith(f"{doubts} query cells")


def test_a_cell_says_who_it_is_and_why_its_label_is_sure_or_not(open_page, report):
    page, (_, data) = open_page(), report
    obs = data.obs.reset_index(names="cell")
    lost = obs.loc[(obs["cell_type_doubt"] == "unassigned") & (obs["role"] == "query")].iloc[0]
    best = lost["cell_type_best"]
    for name, said in {
        "unassigned": f"No label: its best label, {best}, has a score of 0.3, below 0.5.",
        "several_labels": "not sure: its prediction set also holds",
        # A sample of the fixture lies apart: no label is called sure.
        "none": ", one possible label: it is the only label in the prediction set",
    }.items():
        i = int(obs.index[(obs["cell_type_doubt"] == name) & (obs["role"] == "query")][0])
        page.goto(page.url.split("#")[0] + selection(("@cell", [i])))
        page.wait_for_selector(f".barcode:text-is('c{i}')")
        assert said in page.inner_text("#why")
    reference = selection(("@cell", [0]))
    page.goto(page.url.split("#")[0] + reference)
    page.wait_for_selector(".barcode:text-is('c0')")
    assert (
        page.inner_text("#why")
        == f"A reference cell of r. Its label, {obs['cell_type'][0]}, was given."
    )


def test_an_address_restores_the_view(open_page, report):
    page, (_, data) = open_page(), report
    page.select_option("#color-by", "cluster")
    page.click("#legend button[data-value='1']")
    page.check("#query-only")
    page.click("#zoom-in")
    n = ((data.obs["cluster"] == "1") & (data.obs["role"] == "query")).sum()
    page.wait_for_selector(f"#selected-count:text-is('{n}')")
    page.wait_for_selector("#top-genes table")
    again = open_page(page.evaluate("location.hash"))
    assert selected(again) == n
    assert again.is_checked("#query-only")
    again.wait_for_selector("#top-genes table")
    assert picture(again) == picture(page)
    # What this page does not have is not taken from an address.
    odd = open_page('#color=nothing&select=[[["nothing",["x"]]]]&least=7&view=a')
    assert odd.input_value("#color-by") == "cell_type"
    assert odd.locator("#inspector").is_hidden()


def test_a_group_of_the_legend_is_hidden_and_shown_again(open_page, report):
    page, (_, data) = open_page(), report
    before, n = picture(page), (data.obs["cell_type"] == "T cell").sum()
    page.click("#legend button[data-switch='T cell']")
    page.wait_for_selector("#legend .off button[data-value='T cell'] .number:text-is('0')")
    hidden, address = picture(page), page.evaluate("location.hash")
    assert hidden != before
    again = open_page(address)
    again.wait_for_selector("#legend .off")
    assert picture(again) == hidden
    page.click("#legend button[data-switch='T cell']")
    page.wait_for_selector(f"#legend button[data-value='T cell'] .number:text-is('{n}')")
    assert picture(page) == before
    assert page.evaluate("location.hash") == ""
    # What an address says that the page does not know is passed over.
    strange = open_page("#off=" + quote('[["nothing",["x"]]]'))
    assert picture(strange) == before


def test_filters_hide_cells(open_page, report):
    page, (_, data) = open_page(), report
    numbers = page.locator("#legend .number")
    page.check("#query-only")
    shown = [int(text) for text in numbers.all_inner_texts()]
    assert sum(shown) == len(data.query)
    page.locator("#least").fill("0.5")
    high = (data.query["cell_type_score"] >= 0.5).sum()
    page.wait_for_selector("#legend button[data-value='unassigned'] .number:text-is('0')")
    assert sum(int(text) for text in numbers.all_inner_texts()) == high


def test_a_lasso_selects_the_cells_inside(open_page):
    page = open_page()
    page.click("#lasso")
    box = page.locator("#map").bounding_box()
    corners = [(0.02, 0.02), (0.5, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.02)]
    for k, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if k == 0:
            page.mouse.down()
    page.mouse.up()
    assert selected(page) == 240
    assert "lasso" in page.inner_text("#selected-name")


def test_selected_cells_are_copied_and_downloaded(open_page, report, tmp_path):
    page, (_, data) = open_page(selection(("cluster", ["2"]))), report
    cells = data.obs.index[data.obs["cluster"] == "2"]
    page.wait_for_selector("#download")
    with page.expect_download() as found:
        page.click("#download")
    found.value.save_as(tmp_path / "cells.tsv")
    table = pd.read_csv(tmp_path / "cells.tsv", sep="\t", keep_default_na=False)
    assert list(table["cell"]) == list(cells)
    assert (table["cell_type"].to_numpy() == data.obs.loc[cells, "cell_type"]).all()
    page.click("#copy")
    page.wait_for_selector("#copy:text-is('Copied')")


def test_the_table_of_markers_is_searched_and_its_genes_colour_the_map(open_page, report):
    page, (_, data) = open_page(), report
    table = page.locator("table.searchable")
    genes = table.locator("td[data-gene]").all_inner_texts()
    assert set(genes) == set(top_markers(data.markers, CONFIG["report"]["n_markers"])["gene"])
    page.fill(".search input", genes[0].lower())
    shown = [row for row in table.locator("tbody tr").all() if row.is_visible()]
    assert len(shown) == sum(genes[0].lower() in text.lower() for text in
                             table.locator("tbody tr").all_text_contents())  # fmt: skip
    assert 0 < len(shown) < len(genes)
    shown[0].locator("td[data-gene] button").click()
    page.wait_for_selector("#legend .ramp")
    assert page.input_value("#gene") == genes[0]


def test_a_part_of_a_bar_selects_the_cells_of_a_type_in_a_sample(open_page, report):
    page, (_, data) = open_page(), report
    counts = data.obs.groupby(["sample", "cell_type"]).size()
    parts = page.locator(".stack button").all()
    assert len(parts) == len(counts)
    sample, name = counts.index[-1]
    page.locator(f".stack button[aria-label^='{name} in {sample}']").click()
    page.wait_for_selector("#selected-count")
    assert page.inner_text("#selected-count") == str(counts.iloc[-1])


def test_the_maps_beside_select_too(open_page):
    page = open_page()
    page.locator(".beside canvas[data-map=X_umap]").scroll_into_view_if_needed()
    box = page.locator(".beside canvas[data-map=X_umap]").bounding_box()
    left, top, right, bottom = (
        box["x"] + 1, box["y"] + 1, box["x"] + box["width"] - 2, box["y"] + box["height"] - 2,
    )  # fmt: skip
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y)
    page.mouse.up()
    page.wait_for_selector("#selected-count")
    assert page.inner_text("#selected-count") == "240"
    assert page.inner_text("#selected-name") == "lasso"
    page.keyboard.press("Escape")
    # Pointing at a cell of the large map names it; a click tells of it.
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    for k in range(200):
        x = box["x"] + box["width"] * (0.05 + 0.9 * ((k * 0.618) % 1))
        y = box["y"] + box["height"] * (0.05 + 0.9 * k / 200)
        page.mouse.move(x, y)
        if page.locator("#hover").is_visible():
            break
    name = page.inner_text("#hover .barcode")
    page.mouse.click(x, y)
    page.wait_for_selector("#why")
    assert page.inner_text("#inspector .barcode") == name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_that_keeps_people_out(open_page, width, scheme):
    page = open_page(selection(("cluster", ["1"])), width=width, color_scheme=scheme)
    page.wait_for_selector("#selected-count")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


def test_a_title_is_written_for_a_style_sheet(browser):
    title = 'B & "T" cells, Müller\'s <\\> 細胞'
    page = browser.new_page()
    page.set_content(f'<style>p::after {{ content: "{html.css_text(title)}" }}</style><p></p>')
    shown = page.evaluate("getComputedStyle(document.querySelector('p'), '::after').content")
    page.close()
    assert json.loads(shown) == title


def test_the_print_names_the_atlas_and_its_pages(open_page, tmp_path):
    # Narrower than a screen that has the panel as a drawer.
    page = open_page(selection(("cluster", ["1"])))
    page.wait_for_selector("#selected-count")
    page.pdf(path=tmp_path / "print.pdf", prefer_css_page_size=True, format="A4")
    texts = [sheet.extract_text() for sheet in PdfReader(tmp_path / "print.pdf").pages]
    assert len(texts) <= 10
    assert all("small" in text for text in texts)
    assert f"1 / {len(texts)}" in texts[0]
    assert "Printed on" in texts[-1]


def saved(page, button, path):
    with page.expect_download() as found:
        page.click(button)
    found.value.save_as(path)
    return found.value.suggested_filename


def test_the_map_is_saved_as_svg_with_its_legend_as_text(open_page, report, tmp_path):
    page, (_, data) = open_page(), report
    assert saved(page, "#save-svg", tmp_path / "map.svg") == "umap_cell_type.svg"
    root = ElementTree.parse(tmp_path / "map.svg").getroot()
    texts = [text.text for text in root.iter(f"{SVG}text")]
    counts = data.obs["cell_type"].value_counts()
    assert sorted(texts[1:]) == sorted(f"{name} ({n})" for name, n in counts.items())
    assert texts[0] == "UMAP: cell type"
    colors = {key.get("fill") for key in root.iter(f"{SVG}circle")}
    assert colors == {
        data.colors["cell_type"][name].lower() for name in set(counts.index) - {"unassigned"}
    }
    (image,) = root.iter(f"{SVG}image")
    points = Image.open(io.BytesIO(base64.b64decode(image.get("href").partition(",")[2])))
    box = page.locator("#map").bounding_box()
    assert points.size[0] == pytest.approx(3 * box["width"], abs=8)
    shown = {tuple(pixel) for pixel in np.asarray(points.convert("RGB")).reshape(-1, 3)}
    assert {tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in colors} <= shown
    # Of a gene the legend is a ramp from 0 to the largest value.
    page.fill("#gene", "G7")
    page.press("#gene", "Enter")
    page.wait_for_selector("#legend .ramp")
    assert saved(page, "#save-svg", tmp_path / "gene.svg") == "umap_G7.svg"
    root = ElementTree.parse(tmp_path / "gene.svg").getroot()
    title, low, high, unit = (text.text for text in root.iter(f"{SVG}text"))
    assert (title, low, unit) == ("UMAP: G7", "0", "log expression, grey: none")
    assert float(high) > 0
    assert len([*root.iter(f"{SVG}stop")]) == 5


def test_the_map_is_saved_as_png_three_times_as_fine_with_its_legend(open_page, tmp_path):
    page = open_page()
    assert saved(page, "#save-png", tmp_path / "map.png") == "umap_cell_type.png"
    picture, box = Image.open(tmp_path / "map.png"), page.locator("#map").bounding_box()
    assert picture.size[0] > 3 * box["width"] + 200
    assert picture.size[1] > 3 * box["height"]
    beside = np.asarray(picture.convert("L"))[120:, int(3 * box["width"]) + 100 :]
    assert (beside < 100).any()  # names of the types


def test_the_keyboard_reaches_the_controls_and_the_map(open_page):
    page = open_page()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    expected = {
        "color-by",
        "gene",
        "query-only",
        "least",
        "map",
        "zoom-in",
        "zoom-out",
        "fit",
        "lasso",
    }
    assert expected <= set(reached)
    before = picture(page)
    page.focus("#map")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("+")
    page.evaluate("new Promise(requestAnimationFrame)")
    assert picture(page) != before
    page.keyboard.press("Enter")
    page.wait_for_selector("#why")
    page.keyboard.press("Escape")
    page.wait_for_selector("#inspector", state="hidden")


@pytest.mark.parametrize("width", [1440, 1280, 390])
def test_nothing_runs_over_the_side(open_page, width):
    page = open_page(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nor do the parts of the viewer, which scroll up and down alone.
    for part in (".controls", "#legend", "#look"):
        over = f"document.querySelector('{part}').scrollWidth - "
        assert page.evaluate(over + f"document.querySelector('{part}').clientWidth") <= 0, part
    tops = {name: page.locator(name).bounding_box()["y"] for name in (".answer", "#look", "#map")}
    if width == 390:
        assert tops[".answer"] < tops["#look"] < tops["#map"]
        assert page.locator("#map").bounding_box()["width"] > 350


def test_without_a_script_and_in_print_all_figures_are_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("img").count() == 12
    assert all(one.is_visible() for one in page.locator("img").all())
    assert page.locator("#look").is_visible()
    assert not page.locator("#map").is_visible()
    paper = open_page()
    paper.emulate_media(media="print")
    assert all(one.is_visible() for one in paper.locator("figure img").all())
    assert not paper.locator("#map").is_visible()


def test_genes_behind_the_labels_colour_the_map(open_page, report):
    page, (_, data) = open_page(), report
    table = page.locator("#label-genes + .scroll table")
    text = table.locator("tbody tr").first.inner_text()
    assert re.search(r"\w [-+]\d\.\d, \w+ [-+]\d", text)
    page_without = open_page(java_script_enabled=False)
    assert text == page_without.locator("#label-genes + .scroll tbody tr").first.inner_text()
    gene = data.label_genes["gene"].iloc[0]
    before = picture(page)
    table.get_by_role("button", name=gene, exact=True).first.click()
    page.wait_for_selector("#legend .ramp")
    assert page.input_value("#gene") == gene
    assert picture(page) != before


def test_a_colour_that_an_entry_lent_goes_with_its_selection(open_page):
    page = open_page("#color=sample")
    lender = page.locator("#look [data-color]").first
    lent = lender.get_attribute("data-color")
    lender.click()
    assert selected(page) > 0
    assert page.input_value("#color-by") == lent
    page.keyboard.press("Escape")
    page.wait_for_selector("#inspector", state="hidden")
    assert page.input_value("#color-by") == "sample"
    # A colour that the reader chose afterwards stays.
    lender.click()
    assert selected(page) > 0
    page.select_option("#color-by", "cluster")
    page.select_option("#color-by", lent)
    page.keyboard.press("Escape")
    page.wait_for_selector("#inspector", state="hidden")
    assert page.input_value("#color-by") == lent


def test_on_a_phone_the_panel_is_a_drawer_under_the_map(open_page):
    page = open_page(width=390)
    page.locator("#look .show").first.click()
    assert selected(page) > 0
    page.wait_for_function("scrollY > 0")
    drawer, shown = (page.locator(name).bounding_box() for name in ("#inspector", "#map"))
    height = 900
    assert drawer["width"] == 390
    assert drawer["y"] + drawer["height"] == pytest.approx(height, abs=1)
    assert shown["y"] >= 52
    assert shown["y"] + shown["height"] <= drawer["y"]
    page.click("#clear")
    page.wait_for_selector("#inspector", state="hidden")
