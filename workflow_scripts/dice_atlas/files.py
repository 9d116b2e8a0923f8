"""Files that are there whole or not at all, and their checksums."""

import gzip
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` on success, else remove it.

    The temporary name is unique and keeps the suffixes, so that two jobs writing the
    same file do no harm and writers that look at the suffix still work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    path = Path(path)
    digest = hashlib.sha256()
    # Snakemake leaves a timestamp in the folders it makes. Other hidden files are data (zarr's).
    inside = (p for p in path.rglob("*") if p.is_file() and p.name != ".snakemake_timestamp")
    members = sorted(inside) if path.is_dir() else [path]
    for member in members:
        if member != path:
            digest.update(str(member.relative_to(path)).encode())
        with open(member, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_h5ad(data: Any, path: str | Path, **options: Any) -> None:
    """Write an AnnData, whole or not at all.

    Parameters
    ----------
    data : what has a method `write_h5ad`; anndata itself is not needed here.
    options : of that method.
    """
    with atomic_path(path) as temporary:
        data.write_h5ad(temporary, **options)


def gzip_stream(raw: io.BufferedWriter, level: int = 9) -> gzip.GzipFile:
    """A gzip file over an open one that gives the same bytes every time."""
    # No name and no time in the header, or equal contents would differ as files.
    return gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0)


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a tab-separated table, gzipped if `path` ends in .gz, the same bytes every time.

    The index is not written; floats have eight significant digits; NaN is an empty field.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        if str(path).endswith(".gz"):
            with gzip_stream(raw) as stream:
                _write_tsv(frame, stream)
        else:
            _write_tsv(frame, raw)


def _write_tsv(frame: pd.DataFrame, stream: io.BufferedWriter | gzip.GzipFile) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    frame.to_csv(text, sep="\t", index=False, float_format="%.8g", lineterminator="\n")
    text.flush()
    text.detach()
