"""The genes of marker lists in the data: which are there, and which have nearly the same name."""

import logging
import re

import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.marker_lists.lists import MarkerList

logger = logging.getLogger(__name__)

# A type of fewer genes rests on single ones.
FEW_GENES = 3
COLUMNS = ("type", "gene", "sign", "found", "similar")


def key(name: str) -> str:
    """What names have in common that differ in case and punctuation."""
    return re.sub(r"[\W_]", "", name.casefold())


def gene_table(lists: MarkerList, var: pd.DataFrame) -> pd.DataFrame:
    """genes.tsv: each gene of each type, and its name in the data.

    Parameters
    ----------
    lists : genes by symbol or by Ensembl id.
    var : index: symbols of the genes that all samples have; `gene_id`.

    Returns
    -------
    DataFrame
        The `COLUMNS`; `found` is the symbol in the data, "" where there is none; `similar` then one
        that differs in case or punctuation alone.
    """
    symbols = set(var.index)
    by_id = {i: name for name, i in var["gene_id"].items() if i}
    by_key = {key(name): name for name in var.index[::-1]}
    rows = []
    for kind, genes in lists.items():
        for gene, sign in genes.items():
            found = gene if gene in symbols else by_id.get(gene, "")
            rows.append((kind, gene, sign, found, "" if found else by_key.get(key(gene), "")))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def found_genes(genes: pd.DataFrame, path: str) -> dict[str, dict[str, int]]:
    """Genes that the data have, with their signs, by type; what is missing is logged.

    A type without a gene of sign + is left out. A gene that two names of a list stand for counts
    once.

    Parameters
    ----------
    genes : see `gene_table`.
    path : of the list, for the message.

    Raises
    ------
    InputError
        All types would be left out.
    """
    found: dict[str, dict[str, int]] = {}
    every = genes.drop_duplicates("gene")
    missing = every[every["found"] == ""]
    if len(missing):
        logger.warning(
            "%d of %d marker genes are not in all samples: %s", len(missing), len(every),
            ", ".join(map(described, missing.itertuples())),
        )  # fmt: skip
    for name, rows in genes.groupby("type", sort=False):
        own = {row.found: row.sign for row in rows[rows["found"] != ""].itertuples()}
        if 1 not in own.values():
            logger.warning("%s is left out: no gene that it has (+) is in all samples", name)
            continue
        if len(own) < FEW_GENES:
            logger.warning("%s has %d genes, fewer than %d", name, len(own), FEW_GENES)
        found[str(name)] = own
    if not found:
        seen = ", ".join(map(described, genes.head(5).itertuples()))
        raise InputError(
            f"{path}: none of its {genes['gene'].nunique()} genes (+) is in all samples (such as "
            f"{seen}), expected symbols or Ensembl ids as in the data; is the list of another "
            "species? Write the names as in the data"
        )
    return found


def described(row) -> str:
    """A missing gene, and the name that the data have in its place."""
    return f"{row.gene} (there is {row.similar})" if row.similar else str(row.gene)
