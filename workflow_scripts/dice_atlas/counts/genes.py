"""Names and Ensembl ids of genes, whatever the file calls them."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.text_files import text_of
from dice_atlas.errors import InputError, reading
from dice_atlas.names import MISSING
from dice_atlas.tables import read_part
from dice_atlas.vocabulary import GENES

logger = logging.getLogger(__name__)

# Vertebrates, C. elegans and Drosophila, as Ensembl names their genes.
ENSEMBL = re.compile(r"(?:ENS[A-Z]{0,4}G\d{11}(?:\.\d+)?(?:_PAR_Y)?|WBGene\d{8}|FBgn\d{7})\Z")
VERSION = re.compile(r"\.\d+(?=\Z|_PAR_Y\Z)")
ID_COLUMNS = (
    "gene_id", "gene_ids", "ensembl", "ensembl_id", "ensembl_gene_id", "ensembl_ids",
    "feature_id", "accession", "id", "geneid",
)  # fmt: skip
SYMBOL_COLUMNS = (
    "gene_symbol", "gene_symbols", "symbol", "symbols", "feature_name", "gene_name", "gene_names",
    "gene_short_name", "hgnc_symbol", "gene", "name",
)  # fmt: skip


# Names that say nothing by themselves: numbers, transcripts, ids behind a genome's name.
OPAQUE = re.compile(r"\d+(\.0)?\Z|ENS[A-Z]{0,4}T\d{11}|\w+?_+ENS[A-Z]{0,4}G\d{11}")


def is_ensembl(names: pd.Series | pd.Index | list[str]) -> np.ndarray:
    """Which names are Ensembl gene ids (boolean, one per name)."""
    return np.array([ENSEMBL.match(str(name)) is not None for name in names], dtype=bool)


def gene_table(names: list[str], columns: pd.DataFrame, source: str) -> pd.DataFrame:
    """Gene names and their Ensembl ids.

    Parameters
    ----------
    names : the file's own gene names, one per gene.
    columns : what else the file says about the genes, in the same order.
    source : the file, for messages.

    Returns
    -------
    DataFrame
        Index: symbols, not yet unique. Column `gene_id`: Ensembl id without version, "" where the
        file has none. If the names are Ensembl ids and there is a column of symbols, the symbols
        are the names.

    Raises
    ------
    InputError
        A gene has no name.
    """
    own = pd.Series(list(names), dtype=object).astype(str)
    columns = columns.reset_index(drop=True)
    ensembl = is_ensembl(own)
    own[ensembl] = without_version(own[ensembl])
    said = "the file's own names"
    # Some of the names are enough, and a tenth of the time.
    some = own.iloc[:: max(1, len(own) // 1000)]
    opaque = np.array([OPAQUE.match(name) is not None for name in some], dtype=bool)
    by_symbol = opaque.mean() > 0.5 and find_column(columns, SYMBOL_COLUMNS) is not None
    if opaque.any() and not by_symbol:
        refuse_row_numbers(own, source)
    if ensembl.mean() > 0.5 or by_symbol:
        column = None if ensembl.mean() > 0.5 else find_column(columns, ID_COLUMNS, True)
        ids = own if column is None else text(columns[column])
        symbols = find_column(columns, SYMBOL_COLUMNS)
        said = f"symbols of the column {symbols}" if symbols else "Ensembl ids; it has no symbols"
        logger.info("%s: genes are named by %s", source, said)
        if symbols is not None:
            own = text(columns[symbols])
    else:
        column = find_column(columns, ID_COLUMNS, ensembl_only=True)
        ids = own.where(ensembl, "") if column is None else text(columns[column])
    ids = pd.Series(without_version(ids.where(is_ensembl(ids), "")), dtype=object)
    own = own.str.strip()
    # Words for nothing would all be one gene; once, it may be a gene's name.
    repeated = own.isin(MISSING) & own.duplicated(keep=False)
    nothing = (own == "") | (repeated & (ids != "").to_numpy())
    own = own.where(~nothing, ids)
    if (own == "").any():
        row = int(np.argmax((own == "").to_numpy())) + 1
        raise InputError(f"{source}: gene number {row} has no name; give every gene a name")
    table = pd.DataFrame(
        {"gene_id": ids.to_numpy(object)}, index=pd.Index(own.to_numpy(object), dtype=object)
    )
    table.attrs["source"] = said
    return table


def refuse_row_numbers(names: pd.Series, source: str) -> None:
    """Refuse names that count the rows: two such files would match by position.

    Raises
    ------
    InputError
        The names are 0, 1, 2 ... or 1, 2, 3 ...
    """
    if len(names) < 2:
        return
    first = names.iloc[0].removesuffix(".0")
    if first not in ("0", "1"):
        return
    expected = [str(i) for i in range(int(first), int(first) + len(names))]
    if names.str.removesuffix(".0").tolist() == expected:
        raise InputError(
            f"{source}: the genes are called {first}, {expected[1]}, ...: these are row numbers, "
            f"expected names; write symbols or Ensembl ids in their place, or into a column "
            f"{SYMBOL_COLUMNS[0]}"
        )


def with_names_of(own: pd.DataFrame, other: pd.DataFrame | None) -> pd.DataFrame:
    """A gene table with the symbols and ids that another table of the file has for its genes.

    anndata keeps two tables of genes, `var` and `raw.var`; often one alone has both kinds of names.

    Parameters
    ----------
    own, other : names in the index, perhaps columns of ids or symbols; other may be None.
    """
    if other is None or not len(own) or not len(other):
        return own
    names = pd.Index(text(own.index.to_series()), dtype=object)
    by_id = is_ensembl(names).mean() > 0.5
    known = gene_table(other.index.tolist(), other, "the other table of genes")
    known = known[(known["gene_id"] != "") & ~is_ensembl(known.index)]
    if by_id and find_column(own, SYMBOL_COLUMNS) is None:
        column = "gene_symbols"
        found = pd.Series(known.index.to_numpy(object), index=known["gene_id"].to_numpy())
        keys = without_version(names)
    elif not by_id and find_column(own, ID_COLUMNS, ensembl_only=True) is None:
        column, keys = "gene_ids", names
        found = pd.Series(known["gene_id"].to_numpy(object), index=known.index)
    else:
        return own
    found = found[~found.index.duplicated()].reindex(keys)
    if found.isna().all():
        return own
    return own.assign(**{column: found.fillna("").to_numpy(object)})


def read_names(path: str | Path) -> pd.Series:
    """Symbols by Ensembl id (without version), from a table (.gz) of both or an h5ad with both.

    `human` and `mouse` are tables of the library.

    Raises
    ------
    InputError
        The file cannot be read, the table has not two columns, or no Ensembl id in the first; the
        h5ad has not both.
    """
    path = GENES.get(str(path), path)
    if str(path).endswith(".h5ad"):
        with reading(f"genes.names: {path}", "an h5ad file"):
            var = read_part(path, "var")
        genes = gene_table(var.index.tolist(), var, str(path))
        genes = genes[(genes["gene_id"] != "") & ~is_ensembl(genes.index)]
        if genes.empty:
            raise InputError(
                f"genes.names: var of {path} has the columns "
                f"{', '.join(map(str, var.columns)) or '(none)'} and names such as "
                f"{', '.join(map(str, var.index[:3]))}; expected symbols and Ensembl ids of the "
                "same genes"
            )
        symbols = pd.Series(without_numbers(genes.index), index=genes["gene_id"])
        return symbols[~symbols.index.duplicated()]
    with reading(f"genes.names: {path}", "a csv or tsv of two columns, as UTF-8 text"):
        text_file = text_of(Path(path))
        with text_file.open() as file:
            header = file.readline()
        separator = next((s for s in ("\t", ";") if s in header), ",")
        with text_file.open() as file:
            table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    ids = table.iloc[:, 0] if table.shape[1] >= 2 else pd.Series(dtype=str)
    known = is_ensembl(ids)
    if not known.any() or is_ensembl([table.columns[0]])[0]:
        raise InputError(
            f"genes.names: {path} has the columns {', '.join(map(str, table.columns))}"
            + (f" and {ids.iloc[0]!r} in the first" if len(ids) else "")
            + "; expected a csv or tsv with a header, Ensembl ids in the first column and symbols "
            "in the second"
        )
    symbols = pd.Series(symbol_values(table, known), index=without_version(ids))
    symbols = symbols[known & ~symbols.isin(MISSING).to_numpy()]
    return symbols[~symbols.index.duplicated()]


def symbol_values(table: pd.DataFrame, known: np.ndarray) -> np.ndarray:
    """The symbols of a table of ids: its first further column that holds names and no ids.

    Tables of BioMart often have transcripts or Entrez ids between ids and symbols.

    Parameters
    ----------
    table : ids in the first column.
    known : rows of which the id is one of Ensembl.
    """
    for column in range(1, table.shape[1]):
        values = table.iloc[:, column].str.strip()
        given = values[known & ~values.isin(MISSING).to_numpy()]
        opaque = [OPAQUE.match(name) is not None for name in given]
        if len(given) and np.mean(np.array(opaque) | is_ensembl(given)) < 0.5:
            return values.to_numpy(object)
    return table.iloc[:, 1].str.strip().to_numpy(object)


def without_version(ids: pd.Series | pd.Index) -> pd.Index:
    """Ensembl ids without their version, the `.12` at their end."""
    names = [str(name) for name in ids]
    bare = [VERSION.sub("", name) if "." in name else name for name in names]
    return pd.Index(bare, dtype=object)


def renamed(genes: pd.DataFrame, symbols: pd.Series, source: str) -> pd.DataFrame:
    """The gene table with symbols in place of Ensembl ids, where `symbols` has them.

    Parameters
    ----------
    genes : see `gene_table`.
    symbols : see `read_names`.
    source : the file, for messages.

    Raises
    ------
    InputError
        The genes are named by Ensembl ids, and `symbols` has none of them.
    """
    by_id = is_ensembl(genes.index)
    if by_id.mean() <= 0.5:
        logger.info("%s: genes have symbols, genes.names is not needed", source)
        return genes
    found = symbols.reindex(without_version(genes.index[by_id]))
    if found.isna().all():
        raise InputError(
            f"{source}: none of its {by_id.sum()} Ensembl ids (such as "
            f"{', '.join(genes.index[by_id][:3])}) is in genes.names, which has ids such as "
            f"{', '.join(symbols.index[:3])}; is it of the same species?"
        )
    few = found.notna().mean() < 0.5
    logger.log(
        logging.WARNING if few else logging.INFO,
        "%s: %d of %d Ensembl ids have a symbol in genes.names",
        source,
        found.notna().sum(),
        len(found),
    )
    names = pd.Series(genes.index.to_numpy(object), dtype=object)
    names[by_id] = found.fillna(pd.Series(names[by_id].to_numpy(), index=found.index)).to_numpy()
    return genes.set_axis(pd.Index(names.to_numpy(object), dtype=object))


def find_column(
    columns: pd.DataFrame, wanted: tuple[str, ...], ensembl_only: bool = False
) -> str | None:
    """The first wanted column that is there (in any case), if asked one of Ensembl ids."""
    by_name = {str(name).lower(): name for name in columns.columns}
    for name in wanted:
        if name in by_name:
            found = by_name[name]
            values = text(columns[found])
            given = is_ensembl(values[values != ""])
            if not ensembl_only or (given.size and given.mean() > 0.5):
                return found
    return None


def text(values: pd.Series) -> pd.Series:
    """Plain strings, "" for what is missing."""
    values = values.astype(object)
    return values.where(values.notna(), "").astype(str).astype(object).reset_index(drop=True)


def merge_repeated(
    counts: sp.csr_matrix, genes: pd.DataFrame, source: str
) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Add up the counts of genes that share a name, so that it means the same in every file.

    To keep one of them under the name would be to choose by the order in the file. Names that
    another tool made unique (`TBCE`, `TBCE-1`, `TBCE-2`) count as one, too.

    Parameters
    ----------
    counts : cells x genes.
    genes : see `gene_table`.
    source : the file, for messages.

    Returns
    -------
    Counts and genes by their first appearance; `gene_id` of several is joined by "|".
    """
    names = without_numbers(genes.index)
    if names.is_unique:
        return counts, genes
    codes, once = pd.factorize(names)
    member = sp.csr_matrix(
        (np.ones(len(codes), dtype=counts.dtype), (np.arange(len(codes)), codes)),
        shape=(len(codes), len(once)),
    )
    merged = sp.csr_matrix(counts @ member)
    merged.sort_indices()
    own = genes["gene_id"].to_numpy(object)
    repeated = names.duplicated(keep=False)
    ids = own[np.unique(codes, return_index=True)[1]]
    for code in np.unique(codes[repeated]):
        ids[code] = "|".join(sorted(set(own[codes == code]) - {""}))
    shared = names[repeated]
    logger.warning(
        "%s: %d genes share their names with others (such as %s); their counts are added up",
        source,
        len(shared),
        ", ".join(map(str, shared.unique()[:3])),
    )
    return merged, pd.DataFrame({"gene_id": ids}, index=once)


def without_numbers(names: pd.Index) -> pd.Index:
    """Names without the `-1`, `-2` ... that were added to repetitions.

    Those are without a gap and stand beside the plain name; IGHV3-30-2 is a gene of its own.
    """
    parts = names.astype(str).str.extract(r"^(?P<base>.+)-(?P<number>[1-9]\d*)$")
    number = pd.to_numeric(parts["number"])
    there = set(names)
    numbered = parts["base"].isin(there).to_numpy()
    # The k-th repetition is one if the k - 1 before it are there.
    for row in np.flatnonzero(numbered & (number > 1).to_numpy()):
        base = parts["base"].iloc[row]
        numbered[row] = all(f"{base}-{i}" in there for i in range(1, int(number.iloc[row])))
    return pd.Index(np.where(numbered, parts["base"], names), dtype=object)
