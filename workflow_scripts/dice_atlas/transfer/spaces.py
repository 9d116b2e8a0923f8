"""The spaces that anchors can be found in: Seurat's own reductions, or a given embedding."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from dice_atlas.transfer.anchors import Anchors, find_anchors, top_dim_features
from dice_atlas.transfer.reduction import cca, pcaproject
from dice_atlas.transfer.settings import AnchorSettings

REDUCTIONS = {"pcaproject": pcaproject, "cca": cca}


class Space(Protocol):
    """Cells between any two groups of which anchors can be found."""

    def anchors(
        self, reference: np.ndarray, query: np.ndarray, settings: AnchorSettings
    ) -> tuple[Anchors, np.ndarray]:
        """Anchors between two sets of cells (positions), and the query's weight embedding.

        Raises
        ------
        InputError
            No anchor is found, or there are too few cells or genes for a common space.
        """
        ...


@dataclass(frozen=True)
class ExpressionSpace:
    """Seurat's own: a reduction of the expression of variable genes, made for each search.

    Attributes
    ----------
    expression : cells x features, log-normalised, float64.
    reduction : "pcaproject" or "cca".
    dims : dimensions of the reduction.
    seed : of its SVD.
    """

    expression: sp.csr_matrix
    reduction: str = "pcaproject"
    dims: int = 30
    seed: int = 0

    def anchors(
        self, reference: np.ndarray, query: np.ndarray, settings: AnchorSettings
    ) -> tuple[Anchors, np.ndarray]:
        """See `Space.anchors`; the filter looks at the genes of the largest loadings."""
        r, q = self.expression[reference], self.expression[query]
        reduced = REDUCTIONS[self.reduction](r, q, self.dims, self.seed)
        top = reduced.genes[top_dim_features(reduced.loadings, settings.max_features)]
        filtered = (r[:, top].toarray(), q[:, top].toarray())
        del r, q  # of a million cells they are gigabytes
        found = find_anchors(reduced.reference, reduced.query, settings, filtered)
        return found, reduced.query


@dataclass(frozen=True)
class EmbeddingSpace:
    """An embedding that all cells have already.

    Attributes
    ----------
    embedding : cells x dims, not normalised.
    expression : cells x filter genes, log-normalised.
    """

    embedding: np.ndarray
    expression: sp.csr_matrix

    def anchors(
        self, reference: np.ndarray, query: np.ndarray, settings: AnchorSettings
    ) -> tuple[Anchors, np.ndarray]:
        """See `Space.anchors`."""
        filtered = (self.expression[reference].toarray(), self.expression[query].toarray())
        found = find_anchors(self.embedding[reference], self.embedding[query], settings, filtered)
        return found, self.embedding[query]
