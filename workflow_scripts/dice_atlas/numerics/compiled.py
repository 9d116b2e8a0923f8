"""umap-learn and pynndescent, with what numba compiles for them kept on disk.

Both compile some functions whenever they are imported, and others when they are first called: some
ten seconds of every process that makes a neighbour graph, were it of ten cells. numba keeps code
for functions that ask for it (`cache=True`), beside their package or in the user's cache folder;
most of theirs do not ask. Results are the same.
"""

import functools
import importlib
import sys
import warnings

PACKAGES = ("pynndescent", "umap")


def keep_compiled() -> None:
    """Import both so that what numba compiles for them is kept; nothing where they are imported.

    scanpy's own functions are kept in the same way: where no folder can be written to, it cannot be
    imported (NUMBA_CACHE_DIR names another one).
    """
    if any(name in sys.modules for name in PACKAGES):
        return
    import numba

    # Three functions of pynndescent call pointers, which are of one process alone.
    warnings.filterwarnings(
        "ignore", "Cannot cache compiled function", category=numba.core.errors.NumbaWarning
    )
    plain = numba.njit
    numba.njit = functools.partial(plain, cache=True)
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    finally:
        numba.njit = plain
