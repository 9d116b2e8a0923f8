"""Functions by reference, so that a table of them can be read without what they import."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def load(reference: str) -> Callable[..., Any]:
    """The function that a reference "package.module:function" names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
