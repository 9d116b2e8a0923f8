"""How many cases are tried, how files are damaged, and what may come of it."""

import contextlib
import os
import resource
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from dice_atlas.counts import hdf5
from dice_atlas.errors import InputError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# `make fuzz` asks for 10,000; other runs try the same 300 each time.
CASES = int(os.environ.get("FUZZ_CASES", "300"))
# Seconds and bytes that a small file may take.
MOST_SECONDS, MOST_BYTES = 20, 6 << 30


def cases(share: float) -> settings:
    """A share (0 to 1) of the cases."""
    return settings(
        max_examples=max(int(share * CASES), 5),
        derandomize="FUZZ_CASES" not in os.environ,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


# What damages are made of: where in the file (0 to 1), what is done, with what.
DAMAGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["flip", "cut", "zero", "insert", "repeat", "remove"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def damaged(content: bytes, damages: list[tuple[float, str, int]]) -> bytes:
    """The content after all damages."""
    for place, kind, value in damages:
        at = int(place * len(content))
        block = content[at : at + 1 + value]
        if kind == "flip":
            content = content[:at] + bytes([value]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "zero":
            content = content[:at] + bytes(len(block)) + content[at + len(block) :]
        elif kind == "insert":
            content = content[:at] + bytes([value]) * (1 + value % 9) + content[at:]
        elif kind == "repeat":
            content = content[:at] + block + content[at:]
        else:
            content = content[:at] + content[at + len(block) :]
    return content


def refused(read: Callable[[], object]) -> bool:
    """Whether input was refused with a message; any other error is the test's."""
    said = None
    try:
        read()
    except InputError as error:
        said = str(error)
    assert said is None or (said.strip() and "Traceback" not in said), said
    return said is not None


def listing(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def apart(read: Callable[[], object]) -> None:
    """Run in a process of its own, which a library may crash, and look at how it ended.

    Parameters
    ----------
    read : what may raise `InputError` and nothing else.
    """
    came, goes = os.pipe()
    child = os.fork()
    if not child:
        status = 0
        os.setsid()
        # Of a structure that never ends: the reader's own patience is made for slow disks.
        hdf5.PATIENCE = MOST_SECONDS / 4
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(MOST_SECONDS)
            refused(read)
        except BaseException:
            os.write(goes, traceback.format_exc()[-4000:].encode())
            status = 1
        finally:
            os._exit(status)
    os.close(goes)
    # The child's own alarm may never be set: a fork can stop before that.
    ended = os.pidfd_open(child)
    if not select.select([ended], [], [], 3 * MOST_SECONDS)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it had started
    with open(came, "rb") as stream:
        said = stream.read().decode()
    assert status == 0, said or f"ended by {signal.Signals(-status).name}"
