"""Which rows of a count matrix are genes, and which names no cell could have."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from dice_atlas.counts.genes import text
from dice_atlas.errors import InputError
from dice_atlas.names import MISSING

logger = logging.getLogger(__name__)

EXPRESSION = "Gene Expression"
# Columns that say of which type a feature is; later ones are read if they speak of types at all.
TYPE_COLUMNS = (
    "feature_types", "feature_type", "featuretype", "feature.type", "modality", "type",
)  # fmt: skip
# Types of genes and of other features, as Cell Ranger, muon, Seurat and CITE-seq-Count write them.
GENE_TYPES = frozenset(("gene expression", "gene", "genes", "gex", "rna", "mrna", "expression"))
OTHER_TYPES = re.compile(
    r"antibod|protein(?! coding)|\bprot\b|\badt|\bhto|hash|crispr|guide|sgrna|peak|atac|chromatin|"
    r"multiplex|custom|\bvdj|\btag|lipid|barcode|antigen|\bcmo"
)
# Counters that aligners write below the genes: HTSeq, STAR, featureCounts, totals by hand.
COUNTERS = re.compile(
    r"^(_{0,2}(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)|"
    r"n_(unmapped|multimapping|nofeature|ambiguous)|(un)?assigned(_\w+)?|"
    r"(un)?mapped([ _.]reads)?|n(count|feature)_\w+|n_?(counts?|genes?|umis?|cells?)|"
    r"(seurat_)?clusters?|orig[._]ident|cell_?type|\*|"
    r"percent[._](mt|mito|ribo|rb|hb)|pct_counts_\w+|"
    r"(grand )?(total|totals|sum)([ _.]?(counts?|reads|umis?|genes?|features?))?)$",
    re.IGNORECASE,
)
# Columns about genes that tables have beside those of the cells.
ANNOTATION = frozenset((
    "length", "gene_length", "genelength", "effective_length", "start", "end", "stop", "strand",
    "chr", "chrom", "chromosome", "chromosome_name", "seqnames", "width", "gc", "gc_content",
    "gc.content", "geneid", "gene_id", "gene_ids", "gene_name", "gene_names", "gene_symbol",
    "gene_symbols", "symbol", "symbols", "genesymbol", "hgnc_symbol", "hgnc_id", "gene",
    "gene_short_name", "entrez", "entrezid", "entrez_id", "entrezgene", "ensembl", "ensembl_id",
    "ensembl_gene_id", "biotype", "gene_biotype", "gene_type", "description", "feature_type",
    "start_position", "end_position", "total", "sum", "mean", "exon_length", "transcript_length",
))  # fmt: skip


def type_column(var: pd.DataFrame) -> str | None:
    """The column with the types of the features; None where there is none.

    Columns of that name may also hold biotypes (CELLxGENE: protein_coding, lncRNA). They speak of
    types only if one of their values is a type of features.
    """
    by_name = {str(name).lower(): name for name in var.columns}
    for wanted in TYPE_COLUMNS:
        if wanted in by_name:
            types = pd.unique(text(var[by_name[wanted]]).map(normal))
            if any(name in GENE_TYPES or OTHER_TYPES.search(name) for name in types):
                return by_name[wanted]
    return None


def with_types_of(own: pd.DataFrame, other: pd.DataFrame | None) -> pd.DataFrame:
    """A gene table with the feature types that another table of the file has; see `with_names_of`.

    Parameters
    ----------
    own, other : names in the index; other may be None.
    """
    column = None if other is None else type_column(other)
    if other is None or column is None or type_column(own) is not None:
        return own
    known = pd.Series(text(other[column]).to_numpy(object), index=text(other.index.to_series()))
    known = known[~known.index.duplicated()]
    found = known.reindex(text(own.index.to_series())).fillna("").to_numpy(object)
    return own.assign(**{TYPE_COLUMNS[0]: found})


def normal(name: str) -> str:
    """A type of features in lower case, with blanks between its words."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def gene_rows(var: pd.DataFrame, path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Which features are genes; antibodies, guides, peaks and aligners' counters are left out.

    Parameters
    ----------
    var : a feature without a type counts as a gene.
    path : of the file, for messages.

    Returns
    -------
    keep : bool, one per feature.
    decided : `set_apart`, features of other types; `left_out`, counters.

    Raises
    ------
    InputError
        No feature is a gene.
    """
    keep, decided = np.ones(len(var), dtype=bool), {}
    column = type_column(var)
    if column is not None:
        types = text(var[column])
        types = types.where(~types.str.strip().isin(MISSING), "")
        kinds = types.map(normal)
        other = kinds.map(lambda name: OTHER_TYPES.search(name) is not None).to_numpy(bool)
        keep = kinds.isin(GENE_TYPES).to_numpy(bool) | ~other
        unknown = types[keep & ~kinds.isin([*GENE_TYPES, ""]).to_numpy(bool)].unique()
        if len(unknown):
            logger.warning(
                "%s: features of type %s (column %s) count as genes; if they are none, give the "
                "gene-expression matrix alone", path, ", ".join(unknown[:5]), column,
            )  # fmt: skip
        found = types[~keep].value_counts()
        said = ", ".join(f"{name!r} ({n})" for name, n in found.items())
        if not keep.any():
            raise InputError(
                f"{path}: no feature of type {EXPRESSION!r}; seen {said}; give the "
                f"gene-expression matrix, or write that type into the column {column}"
            )
        if len(found):
            decided["set_apart"] = said
            logger.info(
                "%s: %d of %d features are genes; not: %s", path, keep.sum(), len(keep), said
            )
    names = text(var["name"])
    counters = np.array([COUNTERS.match(name.strip()) is not None for name in names]) & keep
    if counters.any():
        decided["left_out"] = "rows " + ", ".join(names[counters])
        logger.warning("%s: %s are no genes and are left out", path, decided["left_out"])
    return keep & ~counters, decided


def require_cell_names(names: pd.Index, path: Path) -> None:
    """Refuse columns about genes among the cells.

    Raises
    ------
    InputError
        A cell is named as such a column.
    """
    found = [name for name in names if name.lower() in ANNOTATION]
    if found:
        raise InputError(
            f"{path}: {', '.join(found[:5])}: seen among the names of the cells, expected cells "
            "alone; such a column says something about the genes: remove it"
        )
