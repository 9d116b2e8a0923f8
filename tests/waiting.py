"""Waiting for another process: blocked until it writes to its log, not until a time has passed."""

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Seconds without a line after which the question is asked all the same: not all is in a log.
QUIET = 2.0


def wait_for(found: Callable[[], Any], seconds: float, *logs: Path) -> Any:
    """What `found` returns as soon as that is true; asked again whenever a log has grown.

    Parameters
    ----------
    found : question.
    seconds : after which waiting has failed.
    logs : files that may not be there yet.
    """
    end = time.monotonic() + seconds
    # tail itself waits for the kernel's word (inotify).
    follow = subprocess.Popen(
        ["tail", "--quiet", "--lines=0", "--follow=name", "--retry", *map(str, logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (result := found()):
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s: {found}"
            if select.select([follow.stdout], [], [], min(left, QUIET))[0]:
                os.read(follow.stdout.fileno(), 1 << 16)
        return result
    finally:
        follow.kill()
        follow.communicate()


def wait_for_text(log: Path, text: str, seconds: float) -> None:
    """Wait until a text stands in a log."""
    wait_for(lambda: log.exists() and text in log.read_text(), seconds, log)
