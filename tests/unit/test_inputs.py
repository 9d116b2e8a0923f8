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
from dice_atlas.inputs import require_unchanged


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
    assert len(json.loads(cache.read_text())) == 2
    # Nothing is hashed a second time.
    monkeypatch.setattr(inputs, "is_recorded", lambda *_: pytest.fail("was hashed"))
    require_unchanged(*finished)
    replace(path, "other\n", 9000)
    require_unchanged(*finished)
    os.unlink(path)
    require_unchanged(*finished)
    cache.write_text("[")
    require_unchanged({"t": sheet["s"]}, pattern, cache)  # not read yet
