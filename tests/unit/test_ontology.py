"""Cell Ontology ids of labels, and the tables that they come from."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.atlas.ontology import Ontology, key, term_ids
from dice_atlas.counts.genes import is_ensembl, read_names
from dice_atlas.vocabulary import CELL_ALIASES, CELL_ONTOLOGY


@pytest.fixture(scope="module")
def ontology():
    return Ontology.read()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        # Ids as the ontology's own pages give them.
        ("B cell", "CL:0000236"), ("B cells", "CL:0000236"), ("b-cell", "CL:0000236"),
        ("B", "CL:0000236"), ("Dendritic", "CL:0000451"), ("dendritic_cells", "CL:0000451"),
        ("NK", "CL:0000623"), ("natural killer cell", "CL:0000623"),
        ("CD14+ Monocytes", "CL:0001054"), ("CD14-positive monocyte", "CL:0001054"),
        ("CD4 T cells", "CL:0000624"), ("T_CD4", "CL:0000624"), ("CD4+ T cells", "CL:0000624"),
        ("DCs", "CL:0000451"), ("CD16+ Mono", "CL:0002396"), ("FCGR3A+ Monocytes", "CL:0002396"),
        ("CD16- monocyte", "CL:0002057"),
        ("Platelet", "CL:0000233"), ("CD4+/CD45RO+ Memory", "CL:0000897"),
    ],
)  # fmt: skip
def test_labels_get_their_ids(ontology, label, expected):
    ids, notes = term_ids([label], ontology, {})
    assert ids[label] == expected
    assert not notes


def test_unknown_and_ambiguous_names_get_none_and_are_listed(ontology):
    labels = ["HCC827", "Bm2 B cell", "unassigned", "B", "CD16+ Monocytes"]
    ids, notes = term_ids(labels, ontology, {"B": "CL:0000785", "X": "CL:0000001"})
    none = dict.fromkeys(("HCC827", "Bm2 B cell", "unassigned", "CD16+ Monocytes"), "")
    assert ids == {**none, "B": "CL:0000785"}
    assert notes == [
        "Bm2 B cell is ambiguous: CL:0000962, CL:0000964",
        "CD16+ Monocytes is ambiguous: CL:0002396, CL:0002397",
        "HCC827 is no name of the Cell Ontology",
        "annotate.ontology: X is no label",
    ]


def test_keys_keep_what_tells_names_apart():
    assert len({key(name) for name in ("CD4+ T", "CD4- T", "CD8+ T", "T")}) == 4
    assert key("Basis") == "basis"
    assert key("mast cells") == key("Mast-Cell") == "mast cell"


def test_aliases_are_names_of_terms_of_the_ontology():
    terms = pd.read_csv(CELL_ONTOLOGY, sep="\t", dtype=str)
    own = terms[terms["kind"] == "label"].set_index("id")["name"]
    assert own.index.is_unique
    aliases = pd.read_csv(CELL_ALIASES, sep="\t", dtype=str)
    assert (own.reindex(aliases["id"]).to_numpy() == aliases["label"].to_numpy()).all()
    assert not aliases["name"].map(key).duplicated().any()


@pytest.mark.parametrize(
    ("species", "gene", "symbol"),
    [("human", "ENSG00000167286", "CD3D"), ("mouse", "ENSMUSG00000032094", "Cd3d")],
)
def test_symbols_of_genes(species, gene, symbol):
    names = read_names(species)
    assert names[gene] == symbol
    assert is_ensembl(names.index).all()
    assert names.index.is_unique
    assert not np.any(names.to_numpy() == "")
    assert len(names) > 40_000
