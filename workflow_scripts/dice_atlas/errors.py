"""The error that a user can mend: what was seen, what was expected, how to mend it."""

import logging
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
        said = one_line(error)
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {said}), expected {expected}; is it "
            "cut off or damaged? Copy it again"
        ) from error
