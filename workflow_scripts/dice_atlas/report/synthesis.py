"""The page about synthetic cells: figures and tables of how much they resemble real ones."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.files import atomic_path
from dice_atlas.plots.categories import NO_CHOICE, with_chosen
from dice_atlas.plots.points import drawn_rows
from dice_atlas.plots.style import (
    BLUE,
    FULL_WIDTH,
    GREY,
    LIGHT_BLUE,
    ORANGE,
    SOFT,
    palette,
    styled,
)
from dice_atlas.report.evidence import CLEARLY
from dice_atlas.report.figures import save_png
from dice_atlas.report.html import image, page_environment
from dice_atlas.report.maps import draw_categories, legend_height, map_width, panels
from dice_atlas.report.tables import Table, number
from dice_atlas.synthesis.names import (
    CONTROL,
    LEAST_CLASS,
    LEAST_DISTANCES,
    LEAST_HELD_OUT,
    METRICS,
    OWN,
    TITLES,
)
from dice_atlas.synthesis.settings import CELL_TYPE, NONE

HELD_OUT = "held out"
# Generators that copy no cell, and should be beaten.
SIMPLE = ("independent_negative_binomial", "gaussian_copula")
COLORS = {HELD_OUT: GREY, OWN: ORANGE}
# Parts of the training by what their losses are called.
PARTS = {"counts": "count model", "other genes": "genes that are not variable",
         "diffusion": "diffusion of the latents"}  # fmt: skip
# Metrics of the table: title, digits.
SHOWN = {
    "rf_auc_pc": ("forest on 50 components, AUC (0.5 is best)", 3),
    "rf_auc_genes": ("forest on genes, AUC (0.5)", 3),
    "rf_auc_class": ("forest within a class, AUC (0.5)", 3),
    "mmd_squared": ("maximum mean discrepancy, squared (0)", 4),
    "ilisi": ("iLISI of real and synthetic (2)", 3),
    "tstr_accuracy": ("trained on synthetic, tested on real: accuracy", 3),
    "label_kept": ("labels that a classifier of real cells gives back (1)", 3),
    "zero_fraction_difference": ("difference of zero fractions (0)", 4),
    "variance_ratio": ("variance, synthetic over real (1)", 3),
    "library_ks": ("library sizes, Kolmogorov-Smirnov (0)", 3),
    "gene_correlation_r": ("gene-gene correlations, r (1)", 3),
    "log_fold_change_slope": ("log-fold changes between classes, slope (1)", 3),
    "dcr_p5": ("distance to the closest record (1; a copy has 0)", 3),
}


@dataclass(frozen=True)
class SynthesisData:
    """What the page is made of.

    Attributes
    ----------
    cells : evaluation.h5ad.
    layout : cells x 2, their UMAP.
    table, by_class, memorization : see `fidelity.Fidelity`.
    card : of the generator.
    loss : `part`, `step`, `train_loss`, `validation_loss`.
    """

    cells: ad.AnnData
    layout: np.ndarray
    table: pd.DataFrame
    by_class: pd.DataFrame
    memorization: pd.DataFrame
    card: dict[str, Any]
    loss: pd.DataFrame

    def expression(self, which: str) -> np.ndarray:
        """Cells x genes of one set, dense."""
        return self.cells[self.cells.obs["set"] == which].X.toarray()

    def of(self, which: str) -> pd.DataFrame:
        """obs of one set."""
        return self.cells.obs[self.cells.obs["set"] == which]

    @property
    def labelled(self) -> bool:
        """Whether the cells have classes."""
        return bool((self.cells.obs["label"].astype(str) != "").any())

    def value(self, metric: str, generator: str = OWN) -> float:
        """A score; NaN where there is none."""
        found = self.table[
            (self.table["metric"] == metric) & (self.table["generator"] == generator)
        ]["value"]
        return float(found.iloc[0]) if len(found) else float("nan")


def read_synthesis(files: Mapping[str, Any]) -> SynthesisData:
    """Read the rule's named inputs."""
    cells = ad.read_h5ad(files["cells"])
    layout = pd.read_csv(files["umap"], sep="\t")[["umap1", "umap2"]].to_numpy()
    tables = {
        name: pd.read_csv(files[name], sep="\t", keep_default_na=False, na_values=[""])
        for name in ("table", "memorization", "loss")
    }
    by_class = pd.read_csv(files["by_class"], sep="\t", dtype={"label": str}, keep_default_na=False)
    card = json.loads(Path(files["card"]).read_text())
    return SynthesisData(cells, layout, by_class=by_class, card=card, **tables)


def umaps(data: SynthesisData, seed: int, chosen: Mapping[str, str] = NO_CHOICE) -> Figure:
    """Held-out and synthetic cells in one map, by origin and by class.

    Parameters
    ----------
    seed : of the order in which points are drawn.
    chosen : colours of some classes (`figures.palette`).
    """
    rows = drawn_rows(data.cells.n_obs, seed)
    obs, points = data.cells.obs.iloc[rows], data.layout[rows]
    shown = [("set", "origin", COLORS)]
    if data.labelled:
        labels = sorted(set(obs["label"].astype(str)))
        shown.append(("label", "class", with_chosen(palette(labels), chosen)))
    entries = {
        column: {name: name for name in colors if (obs[column] == name).any()}
        for column, _, colors in shown
    }
    total = FULL_WIDTH * len(shown) / 2
    width = map_width(len(shown), total)
    with styled():
        figure, axes = panels(points, len(shown), total, legend_height(entries, width))
        for panel, (column, title, colors) in zip(axes, shown, strict=True):
            values = obs[column].astype(str)
            draw_categories(panel, points, values, colors, entries[column], width)
            panel.set_title(title)
        return figure


def identity(axes: Axes, x: np.ndarray, y: np.ndarray, title: str, unit: str = "") -> None:
    """Real against synthetic values, with the line on which they agree."""
    axes.scatter(x, y, s=5, lw=0, color=BLUE, alpha=0.4, rasterized=True)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    axes.plot([low, high], [low, high], color=SOFT, lw=0.8)
    axes.set(title=title, xlabel=f"held-out cells{unit}", ylabel=f"synthetic cells{unit}")


def genes(data: SynthesisData) -> Figure:
    """Mean, variance and share of zeros of each gene."""
    real, made = data.expression(HELD_OUT), data.expression(OWN)
    with styled():
        figure, axes = plt.subplots(1, 3, figsize=(FULL_WIDTH, 4.0))
        identity(axes[0], real.mean(axis=0), made.mean(axis=0), "mean of log expression")
        identity(axes[1], real.var(axis=0), made.var(axis=0), "variance")
        identity(axes[2], (real <= 0).mean(axis=0), (made <= 0).mean(axis=0), "share of zeros")
        return figure


def histogram(axes: Axes, values: Mapping[str, np.ndarray], title: str, label: str) -> None:
    """Two outlines on common bins."""
    every = np.concatenate(list(values.values()))
    bins = np.histogram_bin_edges(every, min(40, max(10, len(every) // 20))).tolist()
    for name, own in values.items():
        axes.hist(own, bins=bins, density=True, histtype="step", lw=1.6, color=COLORS[name],
                  label=name)  # fmt: skip
    axes.set(title=title, xlabel=label, ylabel="density")
    axes.legend()


def libraries(data: SynthesisData) -> Figure:
    """Counts and genes per cell, and the distance to the closest training cell."""
    sets = (HELD_OUT, OWN)
    with styled():
        figure, axes = plt.subplots(1, 3, figsize=(FULL_WIDTH, 3.8))
        logs = {s: np.log10(data.of(s)["library"].to_numpy(float)) for s in sets}
        histogram(axes[0], logs, "library size", "log10 counts per cell")
        found = {s: (data.expression(s) > 0).sum(axis=1) for s in sets}
        histogram(axes[1], found, "variable genes found", "genes per cell")
        distances = {s: data.of(s)["distance"].to_numpy(float) for s in sets}
        histogram(axes[2], distances, "memorisation", "distance to the closest training cell")
        return figure


def fold_changes(data: SynthesisData) -> Figure | None:
    """Log-fold changes of each class against the rest; None without two large classes."""
    real, made = data.expression(HELD_OUT), data.expression(OWN)
    labels = {s: data.of(s)["label"].astype(str).to_numpy() for s in (HELD_OUT, OWN)}
    sizes = pd.Series(labels[HELD_OUT]).value_counts()
    large = [name for name in sizes.index if name and sizes[name] >= LEAST_CLASS]
    if len(sizes) < 2 or not large:
        return None

    def change(values: np.ndarray, own: np.ndarray) -> np.ndarray:
        return values[own].mean(axis=0) - values[~own].mean(axis=0)

    with styled():
        columns = min(4, len(large))
        rows = -(-len(large) // columns)
        figure, axes = plt.subplots(rows, columns, squeeze=False,
                                    figsize=(FULL_WIDTH * columns / 4, 3.1 * rows))  # fmt: skip
        for panel in axes.flat[len(large) :]:
            panel.set_visible(False)
        for panel, name in zip(axes.flat, large, strict=False):
            pair = (change(real, labels[HELD_OUT] == name), change(made, labels[OWN] == name))
            identity(panel, *pair, name, " (log-fold change)")
        return figure


def losses(data: SynthesisData) -> Figure:
    """Losses of the training, a panel for each part."""
    with styled():
        parts = list(dict.fromkeys(data.loss["part"]))
        figure, axes = plt.subplots(1, len(parts), squeeze=False,
                                    figsize=(FULL_WIDTH * len(parts) / 3, 3.2))  # fmt: skip
        for panel, part in zip(axes[0], parts, strict=True):
            own = data.loss[data.loss["part"] == part]
            for column, name, color in (
                ("train_loss", "nine tenths, trained on", LIGHT_BLUE),
                ("validation_loss", "one tenth, watched", BLUE),
            ):
                panel.plot(own["step"], own[column].astype(float), "o-", ms=3, color=color,
                           label=name)  # fmt: skip
            panel.set(title=PARTS.get(str(part), str(part)), xlabel="step", ylabel="loss")
            panel.legend()
        return figure


def score_table(data: SynthesisData) -> Table:
    """Metrics in rows, generators in columns."""
    names = [name for name in TITLES if (data.table["generator"] == name).any()]
    rows = []
    for metric, (title, digits) in SHOWN.items():
        values = [data.value(metric, name) for name in names]
        if not np.isnan(values).all():
            rows.append([title, *(number(value, digits) for value in values)])
    columns = ["metric (best value)", *(TITLES[name] for name in names)]
    return Table(columns, rows, [False, *[True] * len(names)])


def class_table(data: SynthesisData) -> Table | None:
    """One row for each class; None without classes."""
    own = data.by_class[data.by_class["generator"] == OWN]
    if own.empty:
        return None
    wide = own.assign(value=own["value"].astype(float)).pivot(
        index="label", columns="metric", values="value"
    )
    shown = {
        "n_held_out": ("held-out cells", 0), "rf_auc_pc": ("forest, AUC (0.5)", 3),
        "label_kept": ("labels given back (1)", 3), "dcr_p5": ("closest record (1)", 3),
    }  # fmt: skip
    wide = wide.reindex(columns=list(shown)).sort_values("n_held_out", ascending=False)
    rows = [
        [str(label), number(data.card["classes"].get(str(label), np.nan)),
         *(number(v, digits) for v, (_, digits) in zip(values, shown.values(), strict=True))]
        for label, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]  # fmt: skip
    titles = ["class", "training cells", *(title for title, _ in shown.values())]
    return Table(titles, rows, [False, *[True] * (len(titles) - 1)])


def generator_text(data: SynthesisData) -> str:
    """Settings of the generator and length of its training, one sentence."""
    card = data.card
    paper = card["preset"] == "paper"
    parts = [f"preset {card['preset']}", *([] if paper else [f"prior {card['prior']}"])]
    parts += [f"classes from {card['label']}", f"seed {card['seed']}"]
    names = ("space", "fusion", "keep") if paper else ("k", "genes")
    parts += [f"{name} {card['settings'][name]}" for name in names]
    steps = data.loss.groupby("part", sort=False)["step"].max()
    trained = ", ".join(f"{PARTS.get(str(p), str(p))} {n:,} steps" for p, n in steps.items())
    return f"Settings: {', '.join(parts)}. Trained: {trained}."


def findings(data: SynthesisData) -> list[str]:
    """What a user should know before the cells are used."""
    found = []
    control, own = data.value("rf_auc_pc", CONTROL), data.value("rf_auc_pc")
    if own > 0.75:
        found.append(
            f"A random forest tells synthetic from real cells with an AUC of {own:.2f} "
            f"(real from real cells: {control:.2f}). Treat them as rough."
        )
    simple = {TITLES[name]: data.value("rf_auc_pc", name) for name in SIMPLE}
    better = {title: value for title, value in simple.items() if value < own - CLEARLY}
    if better:
        told = ", ".join(f"{title} {value:.2f}" for title, value in better.items())
        advice = (
            "The preset fast is more realistic than paper."
            if data.card["preset"] == "paper"
            else f"It learnt from {data.card['n_cells']:,} cells: more of them help most."
        )
        found.append(
            f"Cells of a simple generator are harder to tell from real ones: {told}, this "
            f"generator {own:.2f} (forest). {advice}"
        )
    kept, expected = data.value("label_kept"), data.value("trtr_accuracy")
    if kept < expected - 0.05:
        found.append(
            f"A classifier trained on real cells gives {kept:.0%} of the synthetic cells their "
            f"label back, and {expected:.0%} of held-out real ones. Classes are mixed up."
        )
    distance = data.value("dcr_p5")
    if distance < 0.5:
        found.append(
            f"Synthetic cells lie close to training cells (distance ratio {distance:.2f}; copies "
            "have 0). Do not publish them in place of the data."
        )
    copied = int(data.memorization.set_index("generator")["copies"].get(OWN, 0))
    if copied:
        found.append(f"{copied} synthetic cells have the counts of a training cell.")
    if data.card["settings"]["label"] == CELL_TYPE and data.card["label"] == NONE:
        found.append(
            "The cells that it learnt from have no labels, so the synthetic cells have no classes."
        )
    small = [name for name, n in data.card["classes"].items() if n < 20 and name]
    if small:
        found.append(
            f"Classes of fewer than 20 training cells are little more than variations of them: "
            f"{', '.join(small)}."
        )
    n_held_out = len(data.of(HELD_OUT))
    if n_held_out < 10 * LEAST_HELD_OUT:
        found.append(f"Only {n_held_out} held-out cells judge the generator: scores are uncertain.")
    return found


def write_synthesis_page(
    files: Mapping[str, Any],
    page: Path,
    folder: Path,
    name: str,
    seed: int,
    chosen: Mapping[str, str] = NO_CHOICE,
) -> None:
    """Draw the figures and write the page.

    Parameters
    ----------
    files : the rule's named inputs.
    page, folder : HTML file, and where the figures go.
    name : of the atlas.
    seed, chosen : see `umaps`.
    """
    data = read_synthesis(files)
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[], Figure | None]] = {
        "umap": lambda: umaps(data, seed, chosen),
        "genes": lambda: genes(data),
        "libraries": lambda: libraries(data),
        "fold_changes": lambda: fold_changes(data),
        "training": lambda: losses(data),
    }
    figures = {}
    for key, draw in drawings.items():
        figure = draw()
        if figure is not None:
            save_png(figure, folder / f"{key}.png")
            figures[key] = image(folder / f"{key}.png")
    template = page_environment(files["templates"]).get_template(Path(files["templates"][0]).name)
    text = template.render(
        name=name,
        card=data.card,
        labelled=data.labelled,
        generator=generator_text(data),
        least_class=LEAST_CLASS,
        least_distances=LEAST_DISTANCES,
        figures=figures,
        findings=findings(data),
        scores=score_table(data),
        classes=class_table(data),
        metrics=METRICS,
        own=data.value("rf_auc_pc"),
        control=data.value("rf_auc_pc", CONTROL),
        distance=data.value("dcr_p5"),
        kept=data.value("label_kept"),
        n_held_out=len(data.of(HELD_OUT)),
    )
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8")
