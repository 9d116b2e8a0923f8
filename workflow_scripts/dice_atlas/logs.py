"""Logging of one job: its log file, the terminal, and how a failure is reported."""

import errno
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dice_atlas.errors import InputError

logger = logging.getLogger("dice_atlas")
FORMAT = "%(asctime)s %(levelname)s %(message)s"
# How a line of FORMAT begins.
ENTRY = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+) ", re.MULTILINE)
# The last line of a log, and what a warning of Python looks like in it.
SECONDS = re.compile(r"\d+\.\d s")
OF_PYTHON = re.compile(r"\.py:\d+: \w+: ")
# Characters of a job's result that are shown while a run goes on.
RESULT_LENGTH = 110
FULL = (errno.ENOSPC, errno.EDQUOT)
# As HDF5, safetensors and others put it into the texts of errors of their own.
FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "errno = 28", "os error 28")


@contextmanager
def job_log(path: str) -> Iterator[logging.Logger]:
    """Send logging and warnings to `path`; end the process with status 1 on an error.

    An `InputError` and a full disk become one sentence on the terminal; anything else a traceback.
    """
    # A log on a full disk must not print a traceback for each of its lines.
    logging.raiseExceptions = False
    file_handler: logging.Handler = logging.NullHandler()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file_handler = logging.FileHandler(path, mode="w")
    except OSError as error:
        if not is_full(error):
            raise
        refuse(full_disk(path))
    file_handler.setFormatter(logging.Formatter(FORMAT))
    root, terminal = logging.getLogger(), terminal_handler()
    root.addHandler(file_handler)
    root.addHandler(terminal)
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # A library may warn once per call: say each warning once.
    warnings.simplefilter("once")
    start = time.perf_counter()
    hooks = sys.unraisablehook, sys.excepthook
    # Cython prints errors that nobody can catch by both of them.
    sys.unraisablehook, sys.excepthook = log_unraisable, log_uncaught
    try:
        yield logger
    except InputError as error:
        refuse(str(error))
    except BaseException as error:
        if is_full(error):
            logger.info("where the disk was full", exc_info=True)
            say(full_disk(path))
            # Not sys.exit: HDF5 crashes when the process closes what could not be written.
            os._exit(1)
        logger.exception("the job failed")
        raise
    finally:
        logger.info("%.1f s", time.perf_counter() - start)
        sys.unraisablehook, sys.excepthook = hooks
        root.removeHandler(file_handler)
        root.removeHandler(terminal)
        file_handler.close()


def terminal_handler() -> logging.Handler:
    """Warnings about the user's files, for the terminal: a wrong one is seen before its results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    # Errors are said by `say`.
    handler.addFilter(lambda record: record.levelno == logging.WARNING)
    handler.addFilter(logging.Filter("dice_atlas.counts"))
    return handler


def log_unraisable(ignored: "sys.UnraisableHookArgs") -> None:
    """Log an error that nobody can catch, such as one while an object is thrown away."""
    logger.info("ignored: %s", ignored.exc_value)


def log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Log an error that a library prints in place of raising it."""
    logger.info("ignored: %s", error)


def say(message: str) -> None:
    """A sentence in the log and on the terminal."""
    logger.error("%s", message)
    print(f"\nError: {message}\n", file=sys.stderr, flush=True)


def refuse(message: str) -> NoReturn:
    """End the process with a sentence in the log and on the terminal."""
    say(message)
    sys.exit(1)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk or a quota is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in FULL or any(t in str(error) for t in FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def full_disk(path: str | Path) -> str:
    """The sentence about a disk without space."""
    return (
        f"the disk is full: no space is left where results go (the log is {path}) or in the folder "
        "of temporary files; free some (`df -h . $TMPDIR` and `quota` show it), then run the same "
        "command again; what is finished stays"
    )


def entries_of(path: str | Path) -> list[tuple[str, str]]:
    """Level and message of each entry of a job's log, in order; none of a log that is not there."""
    try:
        text = read_log(path)
    except OSError:
        return []
    # What stands before the first entry, then level and message of each.
    _, *entries = ENTRY.split(text)
    return [(level, said.strip()) for level, said in zip(entries[::2], entries[1::2], strict=True)]


def read_log(path: str | Path) -> str:
    """The text of a log, which another program may have written."""
    return Path(path).read_text(encoding="utf-8", errors="replace")


def last_result(path: str | Path, default: str = "done") -> str:
    """The last line that a job logged before its seconds; of more than `RESULT_LENGTH` characters
    the first words.
    """
    lines = [text for level, text in entries_of(path) if level == "INFO"]
    kept = [text for text in lines if text and "\n" not in text and not SECONDS.fullmatch(text)]
    result = kept[-1] if kept else default
    if len(result) <= RESULT_LENGTH:
        return result
    cut = result[: RESULT_LENGTH - 4]
    at_word = result[: RESULT_LENGTH - 3].rpartition(" ")[0]
    return f"{at_word if len(at_word) > RESULT_LENGTH / 2 else cut} ..."


def stamp_of(path: str | Path) -> tuple[int, int, int] | None:
    """What changes when a file is written: time, size, number. None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def state_of(
    path: str | Path, before: tuple[int, int, int] | None, since: float, now: float
) -> str | None:
    """How far a job is that goes on: its seconds and its last line; None: it has not begun.

    A job of a cluster waits in a queue after it was sent; its log begins with the job. The clock
    of a shared file system may differ from ours: that a job has begun is told by a log that has
    changed, not by the log's time. Its seconds are those since its first line, by the node's clock.

    Parameters
    ----------
    path : of its log.
    before : the log's `stamp_of` when the job was sent. What is unchanged since is of an earlier
        run or attempt.
    since : when the job was sent.
    now : the time.
    """
    stamp = stamp_of(path)
    if stamp is None or stamp == before:
        return None
    try:
        written = ENTRY.search(read_log(path))
    except OSError:
        return None
    began = since
    if written:
        began = max(since, time.mktime(time.strptime(written[0][:19], "%Y-%m-%d %H:%M:%S")))
    line = last_result(path, default="")
    return f"{max(0, now - began):.0f} s" + (f": {line}" if line else "")


def warnings_of(path: str | Path) -> list[str]:
    """The warnings of a job about data and settings; not those of Python to programmers."""
    lines = [text for level, text in entries_of(path) if level == "WARNING"]
    return [text for text in lines if text and not OF_PYTHON.search(text.splitlines()[0])]


def last_words(path: str | Path) -> str:
    """What a job that failed said last: its error message, or why there is none.

    Parameters
    ----------
    path : of the log, which `job_log` or another program wrote.
    """
    text, entries = read_log(path), entries_of(path)
    errors = [message for level, message in entries if level == "ERROR"]
    if errors and "Traceback (most recent call last)" in errors[-1]:
        reason = errors[-1].splitlines()[-1]
        return f"{reason}; this is a fault of the workflow: please report it, with the log"
    if errors:
        return errors[-1]
    if entries or not text.strip():
        return (
            "ended without a message: it was killed, perhaps for more memory or time than it had, "
            "or the disk is full; give it more, then run the same command again"
        )
    return text.strip().splitlines()[-1]


class Progress:
    """Log lines with the rate and the time left, at most one every `every` seconds."""

    def __init__(self, total: int, what: str, every: float = 10.0) -> None:
        self.total, self.what, self.every = total, what, every
        self.start = self.last = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        """Say how far the work is, if the last line is old enough."""
        now = time.perf_counter()
        if now - self.last < self.every and done < self.total:
            return
        self.last = now
        rate = done / max(now - self.start, 1e-9)
        left = (self.total - done) / max(rate, 1e-9)
        logger.info(
            "%s %d/%d, %.3g per second, %.0f s left%s",
            self.what,
            done,
            self.total,
            rate,
            left,
            f", {note}" if note else "",
        )
