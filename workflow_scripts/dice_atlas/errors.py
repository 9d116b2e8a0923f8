"""The error that a user can mend: what was seen, what was expected, how to mend it."""

import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

# What reading a damaged file raises, gzipped or plain.
DAMAGED = (OSError, EOFError, zlib.error, UnicodeDecodeError)


class InputError(ValueError):
    """Wrong input or settings. Its message is shown to the user as it stands."""


def bullets(lines: Iterable[str]) -> str:
    """The lines of a message as an indented list."""
    return "\n".join(f"  - {line}" for line in lines)


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split())[:300] or "no reason given"


def barred(error: BaseException, path: str | Path) -> str:
    """Why a file could not be opened, though it is there; "" for any other error.

    Parameters
    ----------
    error : what opening it raised.
    path : the file, for an error that names none.
    """
    named = getattr(error, "filename", None)
    file = os.fspath(named if isinstance(named, str) else path)
    if isinstance(error, PermissionError):
        return no_permission(file)
    return dead_link(file) if isinstance(error, FileNotFoundError) else ""


def no_permission(path: str) -> str:
    """What is said of a file or folder that may not be read."""
    return (
        f"{path}: read permission is missing, expected a file or folder that you may read; give it "
        "with chmod u+r (a folder's with u+rx), or ask its owner"
    )


def dead_link(path: str) -> str:
    """What is said of a link whose target is not there; "" for anything else."""
    if not os.path.islink(path) or os.path.exists(path):
        return ""
    return (
        f"{path}: is a link that points nowhere (to {os.readlink(path)}), expected a file; copy "
        "the file itself (rsync -L, git annex get), or correct the link"
    )


@contextmanager
def reading(path: str | Path, expected: str) -> Iterator[None]:
    """Turn whatever a library throws while it reads a file into the product's error.

    Files of users are damaged in more ways than any list of exceptions knows. The original goes
    to the log.

    Parameters
    ----------
    path : of the file.
    expected : what the file should have been.

    Raises
    ------
    InputError
        In place of any exception that is none.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        logger.info("%s: reading it failed", path, exc_info=True)
        if why := barred(error, path):
            raise InputError(why) from error
        said = one_line(error)
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {said}), expected {expected}; is it "
            "cut off or damaged? Copy it again"
        ) from error
