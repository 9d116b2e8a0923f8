"""Inputs that changed after they were read, though their time does not tell."""

import json
import os
from pathlib import Path
from typing import Any

from dice_atlas.counts.formats import member_files
from dice_atlas.errors import InputError


def require_unchanged(sheet: dict[str, dict[str, Any]], finished: str, cache: str | Path) -> None:
    """Refuse results of inputs that were since replaced by files with an older time.

    Snakemake runs a job again if its input is newer than its output. A file that was moved or
    copied with its time (`cp -p`, `rsync -a`) is not. Size and time are compared with those of the
    last start; only where they differ, the contents are hashed.

    Parameters
    ----------
    sheet : see `sheet.read_sheet`.
    finished : pattern with `{sample}` of the counts that were read.
    cache : sizes and times of the last start, in JSON.

    Raises
    ------
    InputError
        The contents of a file are not those that were read.
    """
    known, seen, changed = read_cache(cache), {}, []
    for name, row in sheet.items():
        counts = finished.format(sample=name)
        if not os.path.exists(counts):
            continue
        for path in {row["path"], row["labels_source"]} - {""}:
            state = state_of(path)
            # What is newer Snakemake sees by itself.
            if state is None or max(time for _, time in state) > os.stat(counts).st_mtime_ns:
                continue
            if known.get(f"{name} {path}") != state and not is_recorded(path, counts):
                changed.append(f"{path} (sample {name})")
            else:
                seen[f"{name} {path}"] = state
    if changed:
        raise InputError(
            f"changed since they were read, with an older time than the results: "
            f"{', '.join(changed)}; expected the files that the results were made of; add "
            "--forcerun load_counts to make them again"
        )
    if seen != known and os.path.isdir(Path(cache).parent):
        Path(cache).write_text(json.dumps(seen))


def read_cache(path: str | Path) -> dict[str, list[list[int]]]:
    """What `require_unchanged` wrote; nothing where it cannot be read."""
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def state_of(path: str) -> list[list[int]] | None:
    """Size and time (ns) of each file that a sample is read from; None where one is missing."""
    try:
        found = [os.stat(member) for member in member_files(path)]
    except OSError:
        return None
    return [[about.st_size, about.st_mtime_ns] for about in found]


def is_recorded(path: str, counts: str) -> bool:
    """Whether a file has the contents that were read, by the SHA-256 in the counts of its sample.

    True as well where another file was read, or it is not known: Snakemake sees other paths.
    """
    # Both are slow to load, and needed only here.
    from dice_atlas.files import sha256
    from dice_atlas.tables import read_part

    source = read_part(counts, "uns").get("source", {})
    recorded = {
        source.get("path"): source.get("sha256"),
        source.get("labels_path"): source.get("labels_sha256"),
    }
    return recorded.get(path) in (None, sha256(path))
