"""The harness sees what it is there for."""

import os
import signal

import pytest
from dice_atlas.errors import InputError
from fuzzing import apart, damaged, refused


def refuse():
    raise InputError("seen x, expected y")


def test_only_a_message_is_an_answer():
    assert refused(refuse)
    assert not refused(lambda: 1)
    apart(refuse)
    with pytest.raises(ZeroDivisionError):
        refused(lambda: 1 // 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        apart(lambda: 1 // 0)
    with pytest.raises(AssertionError, match="ended by SIGSEGV"):
        apart(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(AssertionError, match="MemoryError"):
        apart(lambda: bytearray(1 << 40))


def test_damages():
    text = b"abcdefgh"
    assert damaged(text, [(0.5, "flip", 90)]) == b"abcdZfgh"
    assert damaged(text, [(0.5, "cut", 0)]) == b"abcd"
    assert damaged(text, [(0.5, "zero", 1)]) == b"abcd\0\0gh"
    assert damaged(text, [(0.5, "insert", 90)]) == b"abcdZefgh"
    assert damaged(text, [(0.5, "repeat", 1)]) == b"abcdefefgh"
    assert damaged(text, [(0.5, "remove", 1), (0.0, "flip", 65)]) == b"Abcdgh"
