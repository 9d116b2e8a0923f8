"""What a job that fails leaves on the terminal and in its log."""

import errno
import os
import sys
import warnings

import pytest
from dice_atlas.errors import InputError
from dice_atlas.logs import is_full, job_log, last_result, last_words, warnings_of


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def fail(tmp_path, monkeypatch, capsys):
    """Runs a job that raises; returns the terminal's text and the log's path."""

    def end(status):
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)

    def fail(error):
        path = tmp_path / "logs/rule.log"
        with pytest.raises((SystemExit, Ended, ValueError)), job_log(str(path)):
            raise error
        return capsys.readouterr().err, path

    return fail


def full(text="No space left on device", number=errno.ENOSPC):
    return OSError(number, text)


def test_an_input_error_is_one_sentence(fail):
    printed, log = fail(InputError("a.csv: seen x,\nexpected y"))
    assert printed == "\nError: a.csv: seen x,\nexpected y\n\n"
    assert last_words(log) == "a.csv: seen x,\nexpected y"


def test_another_error_is_a_fault_of_ours(fail):
    printed, log = fail(ValueError("shapes differ"))
    assert printed == ""
    assert last_words(log).startswith("ValueError: shapes differ; this is a fault of the workflow")
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    "error",
    [
        full(),
        full("Disk quota exceeded", errno.EDQUOT),
        # As h5py, safetensors and pandas say it.
        RuntimeError("Can't decrement id ref count (file write failed: errno = 28, error message)"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_a_full_disk_is_one_sentence(fail, error):
    printed, log = fail(error)
    assert printed.startswith("\nError: the disk is full: no space is left")
    assert printed.count("\n") == 3
    assert last_words(log).startswith("the disk is full")


def test_a_full_disk_behind_another_error():
    error = ValueError("cannot write the table")
    error.__cause__ = full()
    assert is_full(error)
    error.__cause__ = error
    assert not is_full(error)
    assert not is_full(OSError(errno.ENOENT, "no such file"))
    assert not is_full(None)


def test_a_real_full_disk(fail):
    with pytest.raises(OSError, match="No space left") as raised, open("/dev/full", "w") as stream:
        stream.write("x" * 100_000)
    assert fail(raised.value)[0].startswith("\nError: the disk is full")


def test_errors_that_nobody_can_catch_go_to_the_log(tmp_path, capsys):
    class Broken:
        def __del__(self):
            raise RuntimeError("cannot close")

    before = sys.excepthook, sys.unraisablehook
    with job_log(str(tmp_path / "log")):
        broken = Broken()
        del broken
        sys.excepthook(RuntimeError, RuntimeError("printed by a library"), None)
    assert (sys.excepthook, sys.unraisablehook) == before
    text = (tmp_path / "log").read_text()
    assert "ignored: cannot close" in text
    assert "ignored: printed by a library" in text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ended without a message: it was killed"),
        ("2026-11-25 11:45:10,765 INFO reading\n", "ended without a message: it was killed"),
        ("2026-11-25 11:45:10,765 ERROR a\nb\n2026-11-25 11:45:10,765 INFO 0.1 s\n", "a\nb"),
        ("loading\nscvi: CUDA is missing\n\n", "scvi: CUDA is missing"),
    ],
)
def test_last_words(tmp_path, text, words):
    (tmp_path / "log").write_text(text)
    said = last_words(tmp_path / "log")
    assert said.startswith(words)
    assert said == words or words.endswith("killed")


def test_the_result_is_the_last_line_and_warnings_are_those_of_data(tmp_path):
    path = tmp_path / "rule.log"
    with job_log(str(path)) as log:
        log.info("\n%s", "a table\nof two lines")
        log.warning("two genes are missing")
        warnings.warn("numpy is old", FutureWarning, stacklevel=1)
        log.info("5 cells")
    assert last_result(path) == "5 cells"
    assert warnings_of(path) == ["two genes are missing"]
    with job_log(str(path)) as log:
        log.info("x" * 500)
    assert last_result(path).endswith("x ...")
    assert len(last_result(path)) == 110
    path.write_text(path.read_text() + f"2026-01-01 00:00:00,000 INFO {'a word, ' * 20}\n")
    assert last_result(path).endswith("a word, a ...")
    path.write_text(path.read_text() + f"2026-01-01 00:00:00,000 INFO file {'x' * 500}\n")
    assert last_result(path) == f"file {'x' * 101} ..."
    with job_log(str(path)):
        pass
    assert last_result(path) == "done"
    assert last_result(tmp_path / "none.log") == "done"
