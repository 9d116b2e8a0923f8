"""Names of cell types and genes, as tables that come with the library; see docs/update_names.py."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CELL_ONTOLOGY, CELL_ALIASES = FOLDER / "cell_ontology.tsv.gz", FOLDER / "cell_aliases.tsv"
# Tables of genes by what `genes.names` calls them.
GENES = {species: FOLDER / f"genes_{species}.tsv.gz" for species in ("human", "mouse")}
