"""Names on a map: where they go, so that they cover neither each other nor, where asked, points."""

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dice_atlas.plots.style import INK, SOFT, figure_of

# Distances from the anchor that are tried, in heights of a line.
RINGS = (0.3, 1.0, 2.0, 3.2, 4.6, 6.2, 8.0)
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
# What a height's distance costs, in shares of a name's box that covers points.
FAR = 0.07
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
    """Middle of the densest part of a cloud (n x 2): a median may lie where no point is."""
    bins = int(np.clip(np.sqrt(len(points)) / 2, 3, 20))
    counts, xs, ys = np.histogram2d(points[:, 0], points[:, 1], bins=bins)
    padded = np.pad(counts, 1)
    nearby = [padded[i : i + bins, j : j + bins] for i in range(3) for j in range(3)]
    around = np.sum(nearby, axis=0)
    i, j = np.unravel_index(np.argmax(around), around.shape)
    low = (xs[max(i - 1, 0)], ys[max(j - 1, 0)])
    high = (xs[min(i + 2, bins)], ys[min(j + 2, bins)])
    inside = ((points >= low) & (points <= high)).all(axis=1)
    return points[inside].mean(axis=0)


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
    placed: list[tuple[np.ndarray, np.ndarray]] = []
    for anchor, size in zip(anchors, sizes, strict=True):
        centers, distances = candidates(anchor, size)
        centers = np.clip(centers, low + size / 2, np.maximum(high - size / 2, low + size / 2))
        costs = FAR * distances
        for i, center in enumerate(centers):
            costs[i] += cover.share(center - size / 2, center + size / 2)
            # Ten times worse than anything else: rather far away than over another name.
            costs[i] += 10 * sum(overlap(center, size, *other) for other in placed)
        placed.append((centers[np.argmin(costs)], size))
    return np.array([center for center, _ in placed])


def overlap(center: np.ndarray, size: np.ndarray, other: np.ndarray, of: np.ndarray) -> float:
    """Share of the smaller box that two boxes have in common."""
    sides = (size + of) / 2 - np.abs(center - other)
    area = np.prod(np.minimum(np.maximum(sides, 0), np.minimum(size, of)))
    return float(area / min(np.prod(size), np.prod(of)))


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
            x, y, name, ha="center", va="center", fontsize=size, fontweight="bold", color=INK,
            zorder=5,
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
        halo(axes, text)
        lead(axes, center, anchor, box)
    return texts


def halo(axes: Axes, text: Text) -> None:
    """Lay a white edge under a text, as a text of its own: one with effects is drawn as curves."""
    x, y = text.get_position()
    axes.text(
        x, y, text.get_text(), fontproperties=text.get_fontproperties(), ha="center", va="center",
        zorder=text.get_zorder() - 0.1,
        path_effects=[patheffects.Stroke(linewidth=3, foreground="white", alpha=0.9)],
    )  # fmt: skip


def lead(axes: Axes, center: np.ndarray, anchor: np.ndarray, size: np.ndarray) -> None:
    """A line from a box (pixels) to its anchor, if that lies outside."""
    edge = np.clip(anchor, center - size / 2, center + size / 2)
    if np.hypot(*(edge - anchor)) > 0.5 * size[1]:
        ends = axes.transData.inverted().transform(np.array([edge, anchor]))
        axes.plot(*ends.T, color=SOFT, lw=0.9, zorder=4, solid_capstyle="round")
