"""Logging of one job: its log file, the terminal, and how a failure is reported."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dice_atlas.errors import InputError

logger = logging.getLogger("dice_atlas")


@contextmanager
def job_log(path: str) -> Iterator[logging.Logger]:
    """Send logging and warnings to `path`; end the process with status 1 on an error.

    An `InputError` becomes one sentence on the terminal; anything else a traceback.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file_handler = logging.FileHandler(path, mode="w")
    file_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(file_handler)
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # A library may warn once per call: say each warning once.
    warnings.simplefilter("once")
    start = time.perf_counter()
    try:
        yield logger
    except InputError as error:
        logger.error("%s", error)
        print(f"\nError: {error}\n", file=sys.stderr)
        sys.exit(1)
    except BaseException:
        logger.exception("the job failed")
        raise
    finally:
        logger.info("%.1f s", time.perf_counter() - start)
        root.removeHandler(file_handler)
        file_handler.close()


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
