"""Inputs that changed after they were read, though their time does not tell."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dice_atlas.counts.formats import member_files
from dice_atlas.errors import InputError


def require_unchanged(sheet: dict[str, dict[str, Any]], finished: str, cache: str | Path) -> None:
    """Refuse counts of files that were since replaced by files with an older time.

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
    cached = read_cache(cache)
    known, changed = cached.get("states", {}), []
    seen: dict[str, Any] = {}
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
        raise InputError(replaced(changed, "load_counts"))
    if seen != known and os.path.isdir(Path(cache).parent):
        Path(cache).write_text(json.dumps(cached | {"states": seen}))


def require_same(read: dict[str, tuple[list[str], str]], cache: str | Path) -> None:
    """Refuse results of small files that were since replaced by files with an older time.

    Parameters
    ----------
    read : of each file, what is made of it and the rule that makes it.
    cache : where `note_read` notes what is read.

    Raises
    ------
    InputError
        The contents of a file are not those that were noted.
    """
    noted = read_cache(cache).get("read", {})
    for path, (outputs, rule) in read.items():
        if path in noted and is_made(outputs, path) and noted[path] != file_digest(path):
            raise InputError(replaced([path], rule))


def note_read(
    read: dict[str, tuple[list[str], str]], cache: str | Path, forced: Callable[[str], bool]
) -> None:
    """Note the SHA-256 of each file that this run reads, or that was not noted yet.

    Parameters
    ----------
    read, cache : see `require_same`.
    forced : whether a rule is to run in any case.
    """
    cached = read_cache(cache)
    noted = cached.get("read", {})
    new = {
        path: file_digest(path)
        for path, (outputs, rule) in read.items()
        if os.path.exists(path)
        and (path not in noted or forced(rule) or not is_made(outputs, path))
    }
    if new:
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        Path(cache).write_text(json.dumps(cached | {"read": noted | new}))


def replaced(paths: list[str], rule: str) -> str:
    """What is said of files that are not those that the results were made of."""
    return (
        f"changed since they were read, with an older time than the results: {', '.join(paths)}; "
        f"expected the files that the results were made of; add --forcerun {rule} to make them "
        "again"
    )


def is_made(outputs: list[str], path: str) -> bool:
    """Whether an output is there that is not older than an input that is there."""
    there = [os.stat(output).st_mtime_ns for output in outputs if os.path.exists(output)]
    return os.path.exists(path) and max(there, default=0) >= os.stat(path).st_mtime_ns


def file_digest(path: str) -> str:
    """SHA-256 of a file."""
    # Slow to load, and needed only where there is something to compare.
    from dice_atlas.files import sha256

    return sha256(path)


def read_cache(path: str | Path) -> dict[str, Any]:
    """`states` of `require_unchanged`, `read` of `note_read`; nothing where it is no such file."""
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
    # Slow to load, and needed only here.
    from dice_atlas.tables import read_part

    source = read_part(counts, "uns").get("source", {})
    recorded = {
        source.get("path"): source.get("sha256"),
        source.get("labels_path"): source.get("labels_sha256"),
    }
    return recorded.get(path) in (None, file_digest(path))
