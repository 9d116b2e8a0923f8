"""Look of the figures: palettes and one set of matplotlib settings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import LogFormatterSciNotation

from dice_atlas.names import UNASSIGNED

# Twenty colours. The first twelve and the grey of `unassigned` differ by 10 or more (CIEDE2000) for
# readers with full colour vision, protanopia and deuteranopia; a test says so of the first ten.
# Okabe and Ito's six first, then each time the colour farthest from all before it.
TYPE_COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#660A0A", "#A8CC82",
    "#10105E", "#246042", "#5FD3D3", "#7A7AFF", "#43192E", "#307E7E", "#7B0A7B", "#DB9F9F",
    "#F25F71", "#3600D6", "#7B420A", "#B8A800",
)  # fmt: skip
# Others for clusters and samples, so that no reader takes a cluster for a type: Paul Tol's
# bright, medium-contrast and vibrant sets (then, from the 13th cluster on, those of the types).
CLUSTER_COLORS = (
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#997700", "#EE99AA",
    "#004488", "#EECC66", "#994455", "#6699CC", *TYPE_COLORS[6:],
)  # fmt: skip
SAMPLE_COLORS = (
    "#EE7733", "#0077BB", "#009988", "#EE3377", "#33BBEE", "#CC3311", "#AA9944", "#5E4FA2",
)  # fmt: skip
# How the colours of a palette come again: share of the way to another colour.
MIXES = ((0.0, "white"), (0.45, "white"), (0.4, "black"), (0.65, "white"))
ROLE_COLORS = {"reference": "#5B6B7B", "query": "#E07B00"}
# Of cells without a label: dark, so that they are seen, and they are drawn as crosses.
UNASSIGNED_COLOR = "#47505C"
GREY, PALE = "#B4BAC2", "#E4E7EB"
INK, SOFT, LINE = "#1F2933", "#52606D", "#D9E2EC"
BLUE, LIGHT_BLUE, ORANGE = "#0B5A91", "#7FB3D5", "#D55E00"
# Inches of a figure that fills the page (100 CSS pixels to the inch).
FULL_WIDTH = 11.9
SETTINGS = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": "#7B8794",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


@contextmanager
def plain() -> Iterator[None]:
    """Context in which figures are made and saved: matplotlib's defaults, and names are text.

    What the user's matplotlibrc or MPLBACKEND says counts for nothing. Ticks and their texts are
    made while a figure is saved: that must happen in the same context.
    """
    mpl.use("Agg")
    with mpl.rc_context():
        mpl.rcdefaults()
        # Else a $ begins a formula.
        mpl.rcParams["text.parse_math"] = False
        yield


@contextmanager
def styled() -> Iterator[None]:
    """Context in which figures have the report's look; see `plain`."""
    with plain():
        mpl.rcParams.update(SETTINGS)
        yield


class LogNumbers(LogFormatterSciNotation):
    """Numbers of a logarithmic axis as plain text, where matplotlib would write formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The number at a tick, "" where it has no place."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_x(axes: Axes) -> None:
    """Make the horizontal axis logarithmic."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogNumbers())
    axes.xaxis.set_minor_formatter(LogNumbers(labelOnlyBase=False))


def add_legend(
    owner: Figure | Axes, handles: Sequence[Any], names: Sequence[str], **options: Any
) -> Legend:
    """A legend of any names; matplotlib itself leaves out those that begin with _."""
    places = [str(i) for i in range(len(names))]
    made = owner.legend(list(handles), places, **options)
    for text, name in zip(made.get_texts(), names, strict=True):
        text.set_text(name)
    return made


def figure_of(axes: Axes) -> Figure:
    """The figure of axes, which matplotlib would let stand in a subfigure."""
    if not isinstance(axes.figure, Figure):
        raise TypeError(f"seen axes of a {type(axes.figure).__name__}, expected those of a figure")
    return axes.figure


def palette(names: Sequence[str], colors: Sequence[str] = TYPE_COLORS) -> dict[str, str]:
    """A colour for every name, the same for the same list; `unassigned` is dark grey.

    Beyond the palette's length the colours come again, lighter, then darker, then lighter still.

    Parameters
    ----------
    names : in the order in which they choose.
    colors : as #RRGGBB.
    """
    named = [name for name in names if name not in (UNASSIGNED, "")]
    found = {
        name: mixed(colors[i % len(colors)], *MIXES[i // len(colors) % len(MIXES)])
        for i, name in enumerate(named)
    }
    return {**found, UNASSIGNED: UNASSIGNED_COLOR, "": GREY}


def mixed(color: str, share: float, other: str) -> str:
    """The colour, `share` (0 to 1) of the way to the other."""
    r, g, b = np.array(to_rgb(color)) * (1 - share) + np.array(to_rgb(other)) * share
    return to_hex((r, g, b)).upper()


def natural(values: Sequence[str]) -> list[str]:
    """Distinct values sorted, whole numbers by size."""
    return sorted(
        set(map(str, values)), key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v)
    )


def ink_on(fraction: float | np.floating) -> str:
    """Text colour that reads on a blue heat map's cell."""
    return "white" if fraction > 0.55 else INK
