"""Runs"""

from dice_atlas.logs import full_disk, last_words

from catalogue import Entry

ORDER = 9


def said(text):
    """What is said of a job whose log holds a text."""

    def make(folder):
        (folder / "log").write_text(text)
        return last_words(folder / "log")

    return make


ENTRIES = [
    Entry(
        "the disk is full: no space is left where results go (the log is ...)",
        "The file system of the run or of temporary files is full, or your quota is.",
        "Free space, then run the same command again.",
        lambda folder: full_disk("log"),
    ),
    Entry(
        "ended without a message: it was killed",
        "The scheduler or the kernel ended the job, mostly for its memory.",
        "Give the rule more: `--set-resources <rule>:mem_mb=32000`. See docs/cluster.md.",
        said(""),
    ),
    Entry(
        "this is a fault of the workflow: please report it, with the log",
        "No check has foreseen this input.",
        "Open an issue with the log that the message names.",
        said(
            "2026-01-01 00:00:00,000 ERROR the job failed\nTraceback (most recent call last):\nE: x"
        ),
    ),
]
