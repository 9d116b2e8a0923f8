"""Names on a map: where they go, so that they cover neither each other nor, where asked, points.

Where a name must lie over points, a veil of the paper's colour under it keeps it readable.
"""

import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dice_atlas.plots.style import INK, SOFT, figure_of

# Distances from the anchor that are tried, in heights of a line.
RINGS = (0.3, 1.0, 2.0, 3.2, 4.6, 6.2, 8.0, 10.0, 12.5)
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
# What it costs: each height of a line away from the anchor; a box whose whole area covers points; a
# line that crosses another one or a box; a box that lies over another.
FAR, COVERED, CROSSED, OVERLAID = 0.07, 3.0, 1.2, 10.0
# After all have chosen, each chooses again so many times.
SWEEPS = 5
MOST_CHOOSE_AGAIN = 60
# A box farther than this from its anchor (pixels) gets a line to it.
LED = 7
# Of the paper under a name: the darkest of our colours has a contrast of 8 to the text above it.
VEIL = 0.78
# Letters of a name above which it is written in two lines, if there is a place to break it.
LONG = 16
# Pixels of a field of the map's grid.
FIELD = 4


class Cover:
    """How much of a box (pixels) lies over points: a summed-area table of occupied fields."""

    def __init__(self, points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.low = low
        shape = np.maximum(np.ceil((high - low) / FIELD).astype(int), 1)
        fields = np.clip(((points - low) // FIELD).astype(int), 0, shape - 1)
        occupied = np.zeros(shape)
        occupied[tuple(fields.T)] = 1
        self.sums = np.pad(occupied.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def share(self, low: np.ndarray, high: np.ndarray) -> float:
        """Share of the box's fields that are occupied."""
        last = np.array(self.sums.shape) - 1
        a = np.clip(((low - self.low) // FIELD).astype(int), 0, last)
        b = np.clip(np.ceil((high - self.low) / FIELD).astype(int), 0, last)
        s = self.sums
        inside = s[b[0], b[1]] - s[a[0], b[1]] - s[b[0], a[1]] + s[a[0], a[1]]
        return float(inside / max(np.prod(b - a), 1))


def densest(points: np.ndarray) -> np.ndarray:
    """The point nearest the middle of the densest part of a cloud (n x 2)."""
    bins = int(np.clip(np.sqrt(len(points)) / 2, 3, 20))
    counts, xs, ys = np.histogram2d(points[:, 0], points[:, 1], bins=bins)
    padded = np.pad(counts, 1)
    nearby = [padded[i : i + bins, j : j + bins] for i in range(3) for j in range(3)]
    around = np.sum(nearby, axis=0)
    i, j = np.unravel_index(np.argmax(around), around.shape)
    low = (xs[max(i - 1, 0)], ys[max(j - 1, 0)])
    high = (xs[min(i + 2, bins)], ys[min(j + 2, bins)])
    inside = ((points >= low) & (points <= high)).all(axis=1)
    # A middle may lie where no point is.
    apart = np.hypot(*(points - points[inside].mean(axis=0)).T)
    return points[np.argmin(apart)]


def candidates(anchor: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of boxes at and around an anchor (n x 2), and their distances in heights (n)."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    rings = [anchor + directions * (size / 2 + ring * size[1]) for ring in RINGS]
    distances = np.concatenate([[0.0], np.repeat(RINGS, len(ANGLES))])
    return np.concatenate([anchor[None], *rings]), distances


def place(
    anchors: np.ndarray, sizes: np.ndarray, low: np.ndarray, high: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Centres of boxes near their anchors that overlap as little as possible; the first choose.

    Parameters
    ----------
    anchors : n x 2, where the boxes would like to be (pixels).
    sizes : n x 2, width and height.
    low, high : corners of the area in which they must stay.
    points : m x 2 that boxes should not cover; none: boxes stay at their anchor if they can.

    Returns
    -------
    ndarray
        n x 2.
    """
    cover = Cover(points, low, high)
    tried, costs = [], []
    for anchor, size in zip(anchors, sizes, strict=True):
        centers, distances = candidates(anchor, size)
        centers = np.clip(centers, low + size / 2, np.maximum(high - size / 2, low + size / 2))
        over = [cover.share(center - size / 2, center + size / 2) for center in centers]
        tried.append(centers)
        costs.append(FAR * distances + COVERED * np.array(over))
    placed: dict[int, np.ndarray] = {}
    # The time of a sweep grows with the square of the names.
    for _ in range(1 + (SWEEPS if len(anchors) <= MOST_CHOOSE_AGAIN else 0)):
        for i, centers in enumerate(tried):
            cost = costs[i].copy()
            for j, other in placed.items():
                if j != i:
                    cost += conflicts(centers, anchors[i], sizes[i], other, anchors[j], sizes[j])
            placed[i] = centers[np.argmin(cost)]
    return np.array([placed[i] for i in range(len(anchors))]).reshape(-1, 2)


def conflicts(
    centers: np.ndarray,
    anchor: np.ndarray,
    size: np.ndarray,
    other: np.ndarray,
    its_anchor: np.ndarray,
    its_size: np.ndarray,
) -> np.ndarray:
    """Costs of places of a box (n x 2) beside another box that has its place: overlaps, lines."""
    cost = OVERLAID * overlap(centers, size, other, its_size)
    ends, its_end = edge(centers, anchor, size), edge(other[None], its_anchor, its_size)
    cost += CROSSED * crosses(ends, anchor, its_end, its_anchor)
    cost += CROSSED * enters(ends, anchor[None], other, its_size)
    return cost + CROSSED * enters(its_end, its_anchor[None], centers, size)


def edge(centers: np.ndarray, anchor: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Points of boxes (n x 2) that are nearest to the anchor: there its line ends."""
    return np.clip(anchor, centers - size / 2, centers + size / 2)


def crosses(ends: np.ndarray, start: np.ndarray, end: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether lines from `start` to `ends` (n x 2) cross the one from `other` to `end`."""

    def side(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> np.ndarray:
        x, y = b - a, point - a
        return np.sign(x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0])

    apart = side(start, ends, other) * side(start, ends, end) < 0
    return apart & (side(other, end, start) * side(other, end, ends) < 0)


def enters(
    ends: np.ndarray, starts: np.ndarray, center: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Whether lines from `starts` to `ends` pass through boxes; each n x 2, or one."""
    along = ends - starts
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    bounds = np.stack([center - size / 2 - starts, center + size / 2 - starts]) / along
    first, last = bounds.min(axis=0).max(axis=-1), bounds.max(axis=0).min(axis=-1)
    return np.maximum(first, 0) < np.minimum(last, 1)


def overlap(centers: np.ndarray, size: np.ndarray, other: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Share of the smaller box that each of some boxes (centres n x 2, or one) has with another."""
    sides = (size + of) / 2 - np.abs(centers - other)
    area = np.prod(np.clip(sides, 0, np.minimum(size, of)), axis=-1)
    return area / min(np.prod(size), np.prod(of))


def write_names(
    axes: Axes, anchors: dict[str, np.ndarray], points: np.ndarray | None = None, size: float = 9.5
) -> list[Text]:
    """Write names at or beside their anchors, with a line where they had to move.

    Parameters
    ----------
    axes : its limits and place must not change afterwards.
    anchors : name -> place in data coordinates; the first choose first.
    points : n x 2 that names should leave free; None: they may lie over points.
    size : of the font, in points.

    Returns
    -------
    The texts, in the order of their anchors.

    Raises
    ------
    TypeError
        The figure is drawn by another backend than Agg: it was made outside `styled`.
    """
    if not anchors:
        return []
    texts = [
        axes.text(
            x, y, in_lines(name), ha="center", va="center", fontsize=size, fontweight="bold",
            color=INK, linespacing=0.95, zorder=5,
        )
        for name, (x, y) in anchors.items()
    ]  # fmt: skip
    figure = figure_of(axes)
    figure.draw_without_rendering()
    if not isinstance(figure.canvas, FigureCanvasAgg):
        raise TypeError(
            f"seen a figure on {type(figure.canvas).__name__}, expected Agg's canvas, which knows "
            "the sizes of texts: make the figure in plots.style.styled()"
        )
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    sizes = np.array([(box.width + 6, box.height + 2) for box in boxes])
    to_pixels, frame = axes.transData, axes.get_window_extent(renderer)
    places = to_pixels.transform(np.array(list(anchors.values())))
    low, high = np.array([frame.x0, frame.y0]), np.array([frame.x1, frame.y1])
    covered = np.empty((0, 2)) if points is None else to_pixels.transform(points)
    found = place(places, sizes, low, high, covered)
    for text, center, anchor, box in zip(texts, found, places, sizes, strict=True):
        x, y = to_pixels.inverted().transform(center)
        text.set_position((x, y))
        text.set_bbox(
            {"boxstyle": "round,pad=0.12", "facecolor": "white", "alpha": VEIL, "linewidth": 0}
        )
        lead(axes, center, anchor, box)
    return texts


def in_lines(name: str) -> str:
    """A long name in two lines, broken after the space, / or - that halves it best."""
    breaks = [match.end() for match in re.finditer(r"[ /-]+", name) if match.end() < len(name)]
    if len(name) <= LONG or not breaks:
        return name
    best = min(breaks, key=lambda place: max(len(name[:place].rstrip()), len(name) - place))
    return f"{name[:best].rstrip()}\n{name[best:]}"


def lead(axes: Axes, center: np.ndarray, anchor: np.ndarray, size: np.ndarray) -> None:
    """A line from a box (pixels) to its anchor, if that lies outside; a light edge sets it off."""
    end = edge(center[None], anchor, size)[0]
    if np.hypot(*(end - anchor)) <= LED:
        return
    ends = axes.transData.inverted().transform(np.array([end, anchor])).T
    for color, width, order in (("white", 2.6, 3.9), (SOFT, 0.9, 4.0)):
        axes.plot(*ends, color=color, lw=width, zorder=order, solid_capstyle="round")
    axes.plot(*ends[:, 1], "o", ms=2.6, color=SOFT, mec="white", mew=0.6, zorder=4.1)
