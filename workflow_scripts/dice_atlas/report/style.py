"""Look of the figures: one palette and one set of matplotlib settings."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

# Twenty colours told apart by colour-blind readers as far as twenty can be: Okabe and Ito's
# eight first, then Paul Tol's muted set.
COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#332288",
    "#88CCEE", "#117733", "#999933", "#882255", "#44AA99", "#AA4499", "#661100", "#6699CC",
    "#DDCC77", "#CC6677", "#225555", "#7A5195",
)  # fmt: skip
GREY = "#BBBBBB"
INK = "#1F2933"
SETTINGS = {
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#7B8794",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled() -> mpl.rc_context:
    """Context in which figures have the report's look."""
    return mpl.rc_context(SETTINGS)


def palette(labels: Sequence[str]) -> dict[str, str]:
    """A colour for every label, the same for the same list; `unassigned` is grey."""
    named = [label for label in labels if label not in ("unassigned", "")]
    colors = {label: COLORS[i % len(COLORS)] for i, label in enumerate(named)}
    return {**colors, "unassigned": GREY, "": GREY}


def natural(values: Sequence[str]) -> list[str]:
    """Distinct values sorted, whole numbers by size."""
    return sorted(
        set(map(str, values)), key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v)
    )


def ink_on(fraction: float | np.floating) -> str:
    """Text colour that reads on a blue heat map's cell."""
    return "white" if fraction > 0.55 else INK
