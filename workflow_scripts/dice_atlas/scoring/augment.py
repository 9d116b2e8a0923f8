"""Whether synthetic cells help to find rare classes, beside simpler remedies.

Cells of the reference are held out, a third at a time, and labelled from the rest.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

from dice_atlas.scoring.synthesis import cell_set, fit_components
from dice_atlas.synthesis.names import NO_REMEDY, REGRESSION, SYNTHETIC_CELLS
from dice_atlas.synthesis.rare_classes import augment
from dice_atlas.synthesis.saved import class_codes
from dice_atlas.synthesis.settings import AugmentSettings
from dice_atlas.synthesis.training_cells import CountTable

FOLDS = 3
NEIGHBORS = 15
# Of more cells so many are scored, all cells of rare classes among them: expression is dense here.
MOST_CELLS = 20_000
COLUMNS = ("remedy", "classifier", "label", "metric", "value", "cells")
# Expression and labels of the cells to learn from.
Cells = tuple[np.ndarray, np.ndarray]


def fold_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each cell (n,), class by class; -1 for a class of one cell, which is never held out.

    Parameters
    ----------
    labels : (n,) classes.
    """
    rng = np.random.default_rng(seed)
    folds = np.full(len(labels), -1)
    for label in np.unique(labels.astype(str)):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            folds[members] = np.arange(len(members)) % FOLDS
    return folds


def thinned(table: CountTable, rare: Sequence[str], seed: int) -> CountTable:
    """At most `MOST_CELLS` cells, or all of the rare classes if these are more."""
    chosen = np.isin(table.labels.astype(str), list(rare))
    others = np.flatnonzero(~chosen)
    left = max(MOST_CELLS - int(chosen.sum()), 0)
    chosen[np.random.default_rng(seed).permutation(others)[:left]] = True
    return table.rows(chosen)


def oversampled(cells: Cells, numbers: dict[str, int], rng: np.random.Generator) -> Cells:
    """The cells, and copies of those of some classes.

    Parameters
    ----------
    cells : to learn from.
    numbers : copies wanted of each class.
    """
    points, labels = cells
    rows = [np.arange(len(labels))]
    for label, n in numbers.items():
        members = np.flatnonzero(labels == label)
        if len(members):
            rows.append(rng.choice(members, n))
    chosen = np.concatenate(rows)
    return points[chosen], labels[chosen]


def predictions(
    known: Cells, asked: np.ndarray, weighted: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Labels of the cells asked about, by classifier; neighbours know no weights of classes."""
    points, labels = known
    regression = LogisticRegression(
        C=0.1, max_iter=1000, class_weight="balanced" if weighted else None
    )
    yield REGRESSION, regression.fit(points, labels).predict(asked)
    if not weighted:
        k = min(NEIGHBORS, len(labels))
        yield f"{NEIGHBORS} neighbours", KNeighborsClassifier(k).fit(points, labels).predict(asked)


def remedies(
    table: CountTable,
    held: np.ndarray,
    settings: AugmentSettings,
    seed: int,
    device: str,
) -> Iterator[tuple[str, Cells, np.ndarray, bool]]:
    """Each remedy: its name, cells to learn from, those asked about, whether classes are weighted.

    All are positions on the principal components of the real cells to learn from.

    Parameters
    ----------
    table : all labelled cells of the reference.
    held : positions of the cells to ask about.
    settings, seed, device : see `rare_classes.augment`.
    """
    labels = table.labels.astype(str)
    variable = np.flatnonzero(table.variable)
    expression = cell_set(table.counts, variable, labels, table.libraries).expression
    learnt = np.setdiff1d(np.arange(len(labels)), held)
    components = fit_components(expression[learnt], seed)
    asked = components.transform(expression[held])
    real: Cells = (components.transform(expression[learnt]), labels[learnt])
    yield NO_REMEDY, real, asked, False
    yield "class weights", real, asked, True
    numbers = settings.missing(class_codes(table.labels)[0])
    yield "oversampling", oversampled(real, numbers, np.random.default_rng(seed)), asked, False
    made = augment(table, held, settings, seed, device)
    new = cell_set(made.counts, variable, made.labels, made.totals)
    points = components.transform(new.expression)
    both = np.concatenate([real[1], made.labels.astype(str)])
    yield SYNTHETIC_CELLS, (np.concatenate([real[0], points]), both), asked, False


def score_augment(
    table: CountTable, settings: AugmentSettings, seed: int, device: str
) -> pd.DataFrame:
    """Recall of each rare class, and macro F1 of all, by remedy and classifier.

    Parameters
    ----------
    table : all labelled cells of the reference.
    settings : which classes are rare, and the cells that they get.
    seed : of folds, training and draws.
    device : to train on.

    Returns
    -------
    `COLUMNS`; `label` is "" for macro F1. No row where no class is rare.
    """
    sizes, _ = class_codes(table.labels)
    rare = [name for name in settings.missing(sizes) if sizes[name] > 1]
    if not rare or len(sizes) < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    table = thinned(table, rare, seed)
    labels, folds = table.labels.astype(str), fold_of(table.labels, seed)
    found: dict[tuple[str, str], np.ndarray] = {}
    for fold in range(FOLDS):
        held = np.flatnonzero(folds == fold)
        for remedy, known, asked, weighted in remedies(table, held, settings, seed, device):
            for classifier, predicted in predictions(known, asked, weighted):
                whole = found.setdefault((remedy, classifier), np.full(len(labels), "", object))
                whole[held] = predicted
    judged = folds >= 0
    rows = []
    for (remedy, classifier), predicted in found.items():
        truth, told = labels[judged], predicted[judged].astype(str)
        for name in rare:
            own = truth == name
            recall = float((told[own] == name).mean())
            rows.append((remedy, classifier, name, "recall", recall, int(own.sum())))
        names = np.unique(truth)
        macro = float(f1_score(truth, told, labels=names, average="macro", zero_division=0))
        rows.append((remedy, classifier, "", "macro_f1", macro, len(truth)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
