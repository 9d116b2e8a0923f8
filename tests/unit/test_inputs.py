"""An input that was replaced by an older file is seen at the start."""

import json
import os

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas import inputs
from dice_atlas.errors import InputError
from dice_atlas.files import sha256
from dice_atlas.inputs import note_read, require_same, require_unchanged


@pytest.fixture
def finished(tmp_path):
    """A sheet of one sample with labels, whose counts were read; the pattern and the cache."""
    source, labels = tmp_path / "s.csv", tmp_path / "l.csv"
    source.write_text("gene,c1,c2\nA,1,2\n")
    labels.write_text("barcode,label\nc1,T\n")
    made = ad.AnnData(sp.csr_matrix(np.ones((2, 1))))
    made.uns["source"] = {
        "path": str(source), "sha256": sha256(source),
        "labels_path": str(labels), "labels_sha256": sha256(labels),
    }  # fmt: skip
    (tmp_path / "logs").mkdir()
    made.write_h5ad(tmp_path / "s.h5ad")
    sheet = {"s": {"path": str(source), "labels_source": str(labels)}}
    return sheet, str(tmp_path / "{sample}.h5ad"), tmp_path / "logs/inputs.json"


def replace(path, text, seconds):
    """New contents, with a time so many seconds after the old one's."""
    time = os.stat(path).st_mtime + seconds
    with open(path, "w") as file:
        file.write(text)
    os.utime(path, (time, time))


@pytest.mark.parametrize("column", ["path", "labels_source"])
def test_an_older_file_in_place_of_an_input_is_refused(finished, column):
    sheet = finished[0]
    require_unchanged(*finished)
    replace(sheet["s"][column], "other\n", -1000)
    for _ in range(2):  # being seen once is no reason to let it pass
        with pytest.raises(InputError, match=r"sample s\).*--forcerun load_counts"):
            require_unchanged(*finished)


def test_what_is_the_same_or_newer_or_gone_passes(finished, monkeypatch):
    sheet, pattern, cache = finished
    path = sheet["s"]["path"]
    replace(path, "gene,c1,c2\nA,1,2\n", -1000)  # copied with its contents, another time
    require_unchanged(*finished)
    assert len(json.loads(cache.read_text())["states"]) == 2
    # Nothing is hashed a second time.
    monkeypatch.setattr(inputs, "is_recorded", lambda *_: pytest.fail("was hashed"))
    require_unchanged(*finished)
    replace(path, "other\n", 9000)
    require_unchanged(*finished)
    os.unlink(path)
    require_unchanged(*finished)
    cache.write_text("[")
    require_unchanged({"t": sheet["s"]}, pattern, cache)  # not read yet


@pytest.fixture
def saved(tmp_path):
    """A card that a run is about to read, what is made of it, and the cache."""
    card, made = tmp_path / "card.json", tmp_path / "genes.tsv"
    card.write_text("{}")
    read = {str(card): ([str(tmp_path / "other.tsv"), str(made)], "select_genes")}
    note_read(read, tmp_path / "logs/inputs.json", lambda rule: False)
    made.write_text("gene\n")
    return read, tmp_path / "logs/inputs.json"


def test_an_older_file_in_place_of_what_was_read_is_refused_until_it_is_read_again(saved):
    read, cache = saved
    (card,) = read
    require_same(read, cache)
    replace(card, "{1}", -1000)
    note_read(read, cache, lambda rule: False)  # a run that does not read it
    with pytest.raises(InputError, match=r"card.json; .*--forcerun select_genes"):
        require_same(read, cache)
    note_read(read, cache, lambda rule: rule == "select_genes")
    require_same(read, cache)


def test_a_file_that_snakemake_reads_again_by_itself_passes(saved):
    read, cache = saved
    ((card, (outputs, _)),) = read.items()
    replace(card, "{1}", 1000)  # newer
    require_same(read, cache)
    note_read(read, cache, lambda rule: False)
    replace(card, "{1}", -1000)  # the run made results of it, and it was copied
    require_same(read, cache)
    os.unlink(outputs[1])
    replace(card, "{2}", -1000)
    require_same(read, cache)  # there is nothing to be stale
    os.unlink(card)
    note_read(read, cache, lambda rule: True)
    require_same(read, cache)
