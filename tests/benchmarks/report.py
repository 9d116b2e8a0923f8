"""Size of the report's page, and how fast its map answers, by number of cells.

    python tests/benchmarks/report.py [--sizes 12000 50000] [--genes 1000]

Needs the demo's results (make demo), playwright and a chromium. Cells are the demo's, drawn with
replacement, moved a little on the map, with a part of their counts, and with genes of noise beside.
The other tables of the page are the demo's. A headless Chromium without a GPU opens each page five
times; the medians are in docs/benchmarks/report.tsv.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.report.data import read_report_data
from dice_atlas.report.html import ReportSettings, write_report
from dice_atlas.tables import read_part
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
DEMO, OUT = ROOT / "results" / "demo", ROOT / "docs" / "benchmarks" / "report.tsv"
SAMPLES = ("pbmc_ref", "pbmc_q1", "pbmc_q2")  # as in qc.tsv
REPEATS = 5


def rule_inputs() -> dict[str, object]:
    """Files of the demo, by the names that the rule gives them."""
    annotation, resources = DEMO / "annotation", ROOT / "resources"
    parts = sorted(path.name for path in (resources / "report").iterdir())
    names = ("report.html.j2", "page.css", "macros.html.j2", *(f"report/{part}" for part in parts))
    return {
        "atlas": DEMO / "atlas.h5ad",
        "metrics": DEMO / "metrics.tsv",
        "confusion": annotation / "confusion.tsv",
        "qc": DEMO / "qc.tsv",
        "qc_cells": [DEMO / f"samples/{name}/qc_cells.tsv.gz" for name in SAMPLES],
        "genes": DEMO / "features/genes.tsv",
        "loadings": DEMO / "latent/loadings.npz",
        "corrected": DEMO / "features/corrected.h5ad",
        "card": DEMO / "prior/card.json",
        "loss": DEMO / "prior/loss.tsv",
        "resolutions": DEMO / "clusters/resolutions.tsv",
        "markers": DEMO / "clusters/markers.tsv.gz",
        "calibration": [annotation / "consensus/calibration.tsv.gz"],
        "label_genes": [annotation / "label_genes.tsv"],
        "cluster_labels": [annotation / "cluster_labels.tsv"],
        "augmented": [],
        "augment_scores": [],
        "shift": [annotation / "shift.tsv"],
        "levels": [],
        "label_levels": [],
        "marker_scores": [],
        "marker_calls": [],
        "marker_genes": [],
        "condition_genes": [],
        "condition_shares": [],
        "condition_types": [],
        "truth": [],
        "templates": [resources / name for name in names],
    }


def write_cells(path: Path, n: int, n_genes: int) -> None:
    """An atlas of n cells like the demo's, with genes of noise up to n_genes."""
    demo, rng = ad.read_h5ad(DEMO / "atlas.h5ad"), np.random.default_rng(0)
    rows = rng.integers(0, demo.n_obs, n)
    own = sp.csr_matrix(demo.X)[rows]
    own.data *= (rng.random(own.nnz) < 0.9) * rng.uniform(0.9, 1.1, own.nnz)
    own.eliminate_zeros()
    noise = sp.random(n, max(0, n_genes - demo.n_vars), 0.1, "csr", np.float32, rng)
    noise.data = np.log1p(8 * (1 + rng.poisson(0.3, noise.nnz)) * rng.uniform(0.5, 2, noise.nnz))
    expression = sp.csr_matrix(sp.hstack([own, noise]), dtype=np.float32)
    names = [*demo.var_names, *(f"NOISE{i}" for i in range(noise.shape[1]))]
    var = pd.DataFrame({"highly_variable": True, "n_cells": expression.getnnz(axis=0)}, names)
    obsm = {key: np.asarray(demo.obsm[key])[rows] for key in ("X_umap", "X_dice", "X_pca")}
    obsm = {key: value + rng.normal(0, 0.1, value.shape) for key, value in obsm.items()}
    letters = rng.choice(list("ACGT"), (n, 16))
    samples = demo.obs["sample"].astype(str).to_numpy()[rows]
    obs = demo.obs.iloc[rows].set_axis(
        [f"{s}_{''.join(b)}-1" for s, b in zip(samples, letters, strict=True)]
    )
    for name in obs.select_dtypes("floating"):
        obs[name] = obs[name] * rng.uniform(0.98, 1.02, n)
    whole = ad.AnnData(expression, obs=obs, var=var, obsm=obsm, uns=dict(demo.uns))
    whole.write_h5ad(path, compression="gzip")


def timed(page: Page, action: str) -> float:
    """Milliseconds of an action (a JavaScript function), until the next frame is drawn."""
    return page.evaluate(
        f"""async () => {{ const start = performance.now(); await ({action})();
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return performance.now() - start; }}"""
    )


def figures_of(page_file: Path) -> dict[str, float]:
    """Milliseconds until the map can be used, and of its answers; one opening of the page."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        # Else the page's own policy forbids what `timed` evaluates.
        context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
        page = context.new_page()
        page.goto(f"file://{page_file}")
        page.wait_for_selector("html[data-ready=all]", state="attached", timeout=120_000)
        genes = page.evaluate(
            "JSON.parse(document.getElementById('atlas-head').textContent).genes.length"
        )
        ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
        zoom = timed(page, "async () => document.getElementById('zoom-in').click()")
        page.click("#fit")
        start = time.perf_counter()
        page.fill("#gene", "CD3D")
        page.press("#gene", "Enter")
        page.wait_for_selector("#legend .ramp")
        gene = 1000 * (time.perf_counter() - start)
        page.select_option("#color-by", "cell_type")
        page.wait_for_selector("#legend button")
        start = time.perf_counter()
        page.locator("#legend .value").first.click()
        page.wait_for_selector("#top-genes table", timeout=120_000)
        selection = 1000 * (time.perf_counter() - start)
        browser.close()
    return {
        "genes": genes,
        "ready_ms": ready,
        "zoom_ms": zoom,
        "gene_ms": gene,
        "selection_ms": selection,
    }


def measure(n: int | None, n_genes: int, folder: Path) -> dict[str, float]:
    """One row of the table; n None: the demo itself."""
    files, started = rule_inputs(), time.perf_counter()
    report = {"title": None, "n_markers": 5, "genes": [], "max_mb": 12, "max_cells": 200_000}
    if n is not None:
        files["atlas"] = folder / f"{n}.h5ad"
        write_cells(folder / f"{n}.h5ad", n, n_genes)
        started = time.perf_counter()
    settings = ReportSettings.from_config(report, 0, {})
    page = folder / f"{n}.html"
    data = read_report_data(files, settings.n_markers)
    write_report(data, files, page, folder / "figures", settings, "benchmark")
    seconds = time.perf_counter() - started
    runs = [figures_of(page) for _ in range(REPEATS)]
    middle = {key: round(median(run[key] for run in runs)) for key in runs[0]}
    cells, size = len(read_part(files["atlas"], "obs")), round(page.stat().st_size / 1e6, 2)
    return {"cells": cells, "page_mb": size, "render_s": round(seconds), **middle}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=[12_000, 50_000])
    parser.add_argument("--genes", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = [measure(n, given.genes, Path(name)) for n in (None, *given.sizes)]
    pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False)


if __name__ == "__main__":
    main()
