"""Tables are written atomically and byte for byte the same."""

import time

import numpy as np
import pandas as pd
import pytest
from dice_atlas.files import write_table

FRAME = pd.DataFrame(
    {"cell": ["a", "b"], "score": [1 / 3, np.nan], "kept": [True, False], "n": [1, 2]}
)


@pytest.mark.parametrize("name", ["table.tsv", "table.tsv.gz"])
def test_round_trip(tmp_path, name):
    write_table(FRAME, tmp_path / name)
    read = pd.read_csv(tmp_path / name, sep="\t")
    pd.testing.assert_frame_equal(read, FRAME, rtol=1e-7)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_gzip_bytes_depend_on_the_contents_only(tmp_path, monkeypatch):
    for name, now in (("first.tsv.gz", 1.7e9), ("second.tsv.gz", 1.8e9)):
        # What gzip would write into the header.
        monkeypatch.setattr(time, "time", lambda now=now: now)
        write_table(FRAME, tmp_path / name)
    first, second = ((tmp_path / n).read_bytes() for n in ("first.tsv.gz", "second.tsv.gz"))
    assert first == second


def test_plain_text(tmp_path):
    write_table(FRAME, tmp_path / "t.tsv")
    expected = b"cell\tscore\tkept\tn\na\t0.33333333\tTrue\t1\nb\t\tFalse\t2\n"
    assert (tmp_path / "t.tsv").read_bytes() == expected
