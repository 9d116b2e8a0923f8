"""Scores of generated cells against held-out real ones, and against the training cells.

Every figure has a value that real cells themselves reach, seldom a round one: read it beside that
of the control (`resampled` of synthesis/baselines.py). A generator is scored on as many cells of
each class as are held out; other numbers shift the mixing index and the gene-level figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import ks_2samp, linregress
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from dice_atlas.metrics.classification import classification_scores
from dice_atlas.metrics.memorization import (
    closer_to_training,
    nearest_distance,
    ratio_of_quantiles,
)
from dice_atlas.metrics.two_samples import forest_auc, mixing, mmd
from dice_atlas.numerics.scaling import log1p_normalize
from dice_atlas.synthesis.names import CLASS_METRICS, LEAST_CLASS, LEAST_DISTANCES, METRICS

N_COMPONENTS = 50
# Held-out cells for each component in which distances to training cells are measured.
CELLS_PER_COMPONENT = 10
# Trees of the forests; one over genes is many times slower than one over components.
COMPONENT_TREES, GENE_TREES = 100, 60
# Most expressed genes of the training cells, whose correlations are compared.
CORRELATED_GENES = 300
# Distances below this share of the training cells' typical distance from their mean are 0: the
# same cell in another matrix is projected with another rounding (of float32).
SAME_CELL = 1e-5
# Differences of mean expression below this are noise rather than a difference between classes.
LEAST_FOLD_CHANGE = 0.25


@dataclass(frozen=True)
class CellSet:
    """Cells in the space in which they are scored.

    Attributes
    ----------
    expression : (n, g) float32, log1p of counts per 10,000 of the evaluation genes, or what else
        the generator makes; 0 is no expression.
    labels : (n,) object, "" where there is none.
    libraries : (n,) counts of each cell over all genes, or None where there are no counts.
    """

    expression: np.ndarray
    labels: np.ndarray
    libraries: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.expression)

    def rows(self, chosen: np.ndarray) -> "CellSet":
        """Some of the cells (mask or positions)."""
        libraries = None if self.libraries is None else self.libraries[chosen]
        return CellSet(self.expression[chosen], self.labels[chosen], libraries)

    @property
    def labelled(self) -> "CellSet":
        """The cells that have a label."""
        return self.rows(self.labels != "")


def cell_set(
    counts: sp.csr_matrix,
    columns: np.ndarray,
    labels: np.ndarray,
    libraries: np.ndarray | None = None,
    target_sum: float = 1e4,
) -> CellSet:
    """Cells with log1p-normalised expression of the evaluation genes.

    Parameters
    ----------
    counts : (n, G) raw counts.
    columns : positions of the evaluation genes.
    labels : (n,), "" where there is none.
    libraries : (n,) counts of each cell over all genes; None: the sums of the rows, which is the
        same only where `counts` has all genes.
    target_sum : the total that every cell is brought to.
    """
    if libraries is None:
        libraries = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    expression = log1p_normalize(sp.csr_matrix(counts)[:, columns], libraries, target_sum)
    return CellSet(expression.toarray(), np.asarray(labels, dtype=object), libraries)


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on components that are fitted on the same cells."""

    components: PCA
    regression: LogisticRegression

    @classmethod
    def fit(cls, cells: CellSet, seed: int) -> "Classifier | None":
        """Trained on the labelled cells; None where they are of fewer than two classes."""
        cells = cells.labelled
        if len(np.unique(cells.labels.astype(str))) < 2:
            return None
        components = fit_components(cells.expression, seed)
        # Regularised, as the components are not scaled; the default of 100 steps is too few.
        regression = LogisticRegression(C=0.1, max_iter=1000)
        regression.fit(components.transform(cells.expression), cells.labels.astype(str))
        return cls(components, regression)

    def predict(self, cells: CellSet) -> np.ndarray:
        """Labels (n,)."""
        return self.regression.predict(self.components.transform(cells.expression))


class SynthesisScorer:
    """Scores any number of synthetic sets against the same real cells.

    What does not depend on the synthetic cells is computed once: the classifier trained on the
    training cells, and the components in which distances to them are measured.

    Parameters
    ----------
    training : cells that the generator was trained on.
    held_out : real cells that it has not seen.
    seed : of components, folds, forests, and of the draw of equal numbers of both.

    Raises
    ------
    ValueError
        Either has no cell, or their genes are not as many.
    """

    def __init__(self, training: CellSet, held_out: CellSet, seed: int) -> None:
        self.training, self.held_out, self.seed = training, held_out, seed
        self._require_comparable(training, "training")
        self._require_comparable(held_out, "held-out")
        self.classifier = Classifier.fit(training, seed)
        # Components of the training cells alone would leave out more of every other cell, and a
        # copy would seem nearer than it is.
        n_equal = min(len(training), len(held_out))
        rng = np.random.default_rng(seed)
        chosen_training = training.expression[rng.permutation(len(training))[:n_equal]]
        chosen_held_out = held_out.expression[rng.permutation(len(held_out))[:n_equal]]
        # Of few cells many components are noise of these, and other cells seem to lie inside.
        most = max(2, n_equal // CELLS_PER_COMPONENT)
        self.components = fit_components(np.vstack([chosen_held_out, chosen_training]), seed, most)
        self.equal_training = self.components.transform(chosen_training)
        self.equal_held_out = self.components.transform(chosen_held_out)
        self.training_points = self.components.transform(training.expression)
        self.held_out_distance = self.distance_to_training(held_out)

    def score(self, synthetic: CellSet) -> pd.DataFrame:
        """Rows `metric`, `value` of the synthetic cells, in the order of `METRICS`.

        A metric that cannot be had is left out: those of classes without labels or with classes
        that are too small, that of library sizes without any, forests of fewer than two cells.
        A value is NaN where the metric is undefined on these cells (a correlation with a constant).

        Raises
        ------
        ValueError
            There is no synthetic cell, or the genes are not as many as of the real cells.
        """
        self._require_comparable(synthetic, "synthetic")
        real_pcs, synthetic_pcs = self.joint_components(synthetic)
        found = dict(
            [
                *self._two_sample_scores(synthetic, real_pcs, synthetic_pcs),
                *self._label_scores(synthetic),
                *gene_scores(self.held_out, synthetic),
                *self._gene_correlation_scores(synthetic),
                *fold_change_scores(self.held_out, synthetic),
                *self._memorization_scores(synthetic),
            ]
        )
        rows = [(name, found[name]) for name in METRICS if name in found]
        return pd.DataFrame(rows, columns=["metric", "value"])

    def score_by_class(self, synthetic: CellSet) -> pd.DataFrame:
        """Rows `label`, `metric`, `value` for each class of the synthetic cells.

        `n_cells` and `n_held_out` always; `rf_auc_pc` where both are at least `LEAST_CLASS`;
        `label_kept` where the training cells give a classifier; `dcr_p5`, over the held-out cells
        of the class, where both are at least `LEAST_DISTANCES`. No rows without labels.

        Raises
        ------
        ValueError
            See `score`.
        """
        self._require_comparable(synthetic, "synthetic")
        aucs = self._class_aucs(synthetic, *self.joint_components(synthetic))
        distance = self.distance_to_training(synthetic)
        predicted = None if self.classifier is None else self.classifier.predict(synthetic)
        rows: list[tuple[str, str, float]] = []
        for label in _classes(synthetic.labels):
            own, real = synthetic.labels == label, self.held_out.labels == label
            values = {"n_cells": float(own.sum()), "n_held_out": float(real.sum())}
            if label in aucs:
                values["rf_auc_pc"] = aucs[label]
            if predicted is not None:
                values["label_kept"] = float((predicted[own] == label).mean())
            if min(own.sum(), real.sum()) >= LEAST_DISTANCES:
                values["dcr_p5"] = ratio_of_quantiles(distance[own], self.held_out_distance[real])
            rows += [
                (label, metric, values[metric]) for metric in CLASS_METRICS if metric in values
            ]
        return pd.DataFrame(rows, columns=["label", "metric", "value"])

    def _require_comparable(self, cells: CellSet, name: str) -> None:
        n_genes = self.training.expression.shape[1]
        if not len(cells) or cells.expression.shape[1] != n_genes:
            raise ValueError(
                f"{name} cells x genes: {cells.expression.shape}; expected at least one cell, and "
                f"the {n_genes} genes of the training cells"
            )

    def joint_components(self, synthetic: CellSet) -> tuple[np.ndarray, np.ndarray]:
        """Held-out and synthetic cells in components that are fitted on both."""
        both = np.vstack([self.held_out.expression, synthetic.expression])
        points = fit_components(both, self.seed).transform(both)
        return points[: len(self.held_out)], points[len(self.held_out) :]

    def distance_to_training(self, cells: CellSet) -> np.ndarray:
        """Of each cell to the nearest training cell, in the components of equal numbers."""
        points = self.components.transform(cells.expression)
        distance = nearest_distance(points, self.training_points)
        typical = np.sqrt((self.training_points.astype(np.float64) ** 2).sum(axis=1).mean())
        return np.where(distance > SAME_CELL * typical, distance, 0.0)

    def _two_sample_scores(
        self, synthetic: CellSet, real_pcs: np.ndarray, synthetic_pcs: np.ndarray
    ) -> Iterator[tuple[str, float]]:
        if min(len(real_pcs), len(synthetic_pcs)) >= 2:
            yield "rf_auc_pc", forest_auc(real_pcs, synthetic_pcs, self.seed, COMPONENT_TREES)
            genes = self.held_out.expression, synthetic.expression
            yield "rf_auc_genes", forest_auc(*genes, self.seed, GENE_TREES)
            aucs = self._class_aucs(synthetic, real_pcs, synthetic_pcs)
            if aucs:
                yield "rf_auc_class", float(np.mean(list(aucs.values())))
            root, squared = mmd(real_pcs, synthetic_pcs)
            yield "mmd_root", root
            yield "mmd_squared", squared
        yield "ilisi", mixing(real_pcs, synthetic_pcs)

    def _class_aucs(
        self, synthetic: CellSet, real_pcs: np.ndarray, synthetic_pcs: np.ndarray
    ) -> dict[str, float]:
        """AUC of the forest within each class that is large enough in both."""
        return {
            label: forest_auc(
                real_pcs[self.held_out.labels == label],
                synthetic_pcs[synthetic.labels == label],
                self.seed,
                COMPONENT_TREES,
            )
            for label in _large_classes(self.held_out, synthetic)
        }

    def _label_scores(self, synthetic: CellSet) -> Iterator[tuple[str, float]]:
        """What classifiers trained on real and on synthetic cells say."""
        real, made = self.held_out.labelled, synthetic.labelled
        trained = {"trtr": self.classifier, "tstr": Classifier.fit(synthetic, self.seed)}
        for name, classifier in trained.items():
            if classifier is not None and len(real):
                scores = classification_scores(real.labels, classifier.predict(real))
                yield f"{name}_accuracy", scores["accuracy"].value
                yield f"{name}_macro_f1", scores["macro_f1"].value
        if self.classifier is not None and len(made):
            yield "label_kept", float((self.classifier.predict(made) == made.labels).mean())

    def _gene_correlation_scores(self, synthetic: CellSet) -> Iterator[tuple[str, float]]:
        """Correlations between the genes that the training cells express most."""
        means = self.training.expression.mean(axis=0)
        top = np.argsort(-means, kind="stable")[:CORRELATED_GENES]
        if len(top) < 2 or min(len(self.held_out), len(synthetic)) < 2:
            return
        real = pairwise_correlations(self.held_out.expression[:, top])
        made = pairwise_correlations(synthetic.expression[:, top])
        yield "gene_correlation_r", correlation(real, made)
        yield "gene_correlation_rmse", float(np.sqrt(((real - made) ** 2).mean()))

    def _memorization_scores(self, synthetic: CellSet) -> Iterator[tuple[str, float]]:
        distance = self.distance_to_training(synthetic)
        yield "dcr_p5", ratio_of_quantiles(distance, self.held_out_distance)
        points = self.components.transform(synthetic.expression)
        equal = closer_to_training(points, self.equal_training, self.equal_held_out)
        yield "closer_to_training", equal


def fit_components(expression: np.ndarray, seed: int, most: int = N_COMPONENTS) -> PCA:
    """Principal components of cells (n x g): `most`, or as many as n and g allow."""
    n_cells, n_genes = expression.shape
    n_components = min(N_COMPONENTS, most, n_cells - 1, n_genes)
    return PCA(n_components, svd_solver="randomized", random_state=seed).fit(expression)


def gene_scores(real: CellSet, synthetic: CellSet) -> Iterator[tuple[str, float]]:
    """Means, variances and zeros of genes, libraries and genes per cell of two sets of cells."""
    one, other = real.expression.astype(np.float64), synthetic.expression.astype(np.float64)
    yield "gene_mean_r", correlation(one.mean(axis=0), other.mean(axis=0))
    variance, other_variance = one.var(axis=0), other.var(axis=0)
    yield "gene_variance_r", correlation(variance, other_variance)
    total = float(variance.sum())
    yield "variance_ratio", float(other_variance.sum()) / total if total > 0 else np.nan
    zeros, other_zeros = (one <= 0).mean(axis=0), (other <= 0).mean(axis=0)
    yield "zero_fraction_difference", float(np.abs(zeros - other_zeros).mean())
    if real.libraries is not None and synthetic.libraries is not None:
        yield "library_ks", float(ks_2samp(real.libraries, synthetic.libraries).statistic)
    n_genes, other_n_genes = (one > 0).sum(axis=1), (other > 0).sum(axis=1)
    yield "genes_per_cell_ks", float(ks_2samp(n_genes, other_n_genes).statistic)


def fold_change_scores(real: CellSet, synthetic: CellSet) -> Iterator[tuple[str, float]]:
    """Log-fold changes of each class against the rest, synthetic regressed on real.

    A log-fold change is the difference of the mean (log) expression of the class and of all other
    labelled cells. All pairs of a class of at least `LEAST_CLASS` cells in both sets and a gene
    that differs by more than `LEAST_FOLD_CHANGE` in the real cells make one regression line. The
    real changes have noise of their own, which pulls the slope of the control below 1, too.
    """
    real, synthetic = real.labelled, synthetic.labelled
    changes = [
        (log_fold_changes(real, label), log_fold_changes(synthetic, label))
        for label in _large_classes(real, synthetic)
        if not ((real.labels == label).all() or (synthetic.labels == label).all())
    ]
    if not changes:
        return
    expected, found = np.array(changes, dtype=np.float64).transpose(1, 0, 2).reshape(2, -1)
    clear = np.abs(expected) > LEAST_FOLD_CHANGE
    if clear.sum() > 1 and np.ptp(expected[clear]) > 0:
        yield "log_fold_change_slope", float(linregress(expected[clear], found[clear]).slope)
        yield "log_fold_change_r", correlation(expected[clear], found[clear])


def log_fold_changes(cells: CellSet, label: str) -> np.ndarray:
    """Mean expression of a class less that of all other cells (g)."""
    own = cells.labels == label
    inside, outside = cells.expression[own], cells.expression[~own]
    return inside.mean(axis=0, dtype=np.float64) - outside.mean(axis=0, dtype=np.float64)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, NaN where either is constant."""
    # By the values, not by their spread: the mean of equal numbers need not be that number.
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def pairwise_correlations(expression: np.ndarray) -> np.ndarray:
    """Pearson correlation of each pair of genes (g (g - 1) / 2); 0 with a constant gene.

    A gene that does not vary where it should has lost its correlations: 0 says so.
    """
    centered = expression - expression.mean(axis=0, dtype=np.float64)
    constant = np.ptp(expression, axis=0) == 0
    size = np.where(constant, np.inf, np.linalg.norm(centered, axis=0))
    unit = centered / size
    return (unit.T @ unit)[np.triu_indices(expression.shape[1], 1)]


def _classes(labels: np.ndarray) -> list[str]:
    """Labels that there are, in alphabetical order."""
    return sorted(set(labels.astype(str)) - {""})


def _large_classes(real: CellSet, synthetic: CellSet) -> list[str]:
    """Classes with at least `LEAST_CLASS` cells in both."""
    return [
        label
        for label in _classes(synthetic.labels)
        if min((real.labels == label).sum(), (synthetic.labels == label).sum()) >= LEAST_CLASS
    ]
