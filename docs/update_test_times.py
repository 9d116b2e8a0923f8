"""Put the table of test times of CONTRIBUTING.md in place.

    python docs/update_test_times.py results/test_times.xml

The file is what `pytest --junitxml` writes; `make test-times` does both.
"""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from update_benchmarks import markdown, replace_block

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
SUBJECTS = {
    "unit": "functions of the library, against independent references",
    "data": "the same on real data sets; skipped where those are missing",
    "fuzz": "configs, sheets, tables and damaged files as nobody writes them",
    "workflow": "runs of the workflow in copies of the repository",
    "slurm": "runs on a SLURM that the tests bring up, most by `make test-slurm` alone; skipped "
    "without root on Debian",
}


def times_table(report: Path) -> str:
    """Tests and seconds of each folder under tests/."""
    tests, seconds = defaultdict(int), defaultdict(float)
    for case in ElementTree.parse(report).iter("testcase"):
        folder = case.attrib["classname"].split(".")[1]
        tests[folder] += 1
        seconds[folder] += float(case.attrib["time"])
    folders = sorted(tests, key=lambda name: list(SUBJECTS).index(name))
    rows = [
        [f"`tests/{name}`", SUBJECTS[name], str(tests[name]), f"{seconds[name]:.0f}"]
        for name in folders
    ]
    return markdown(["folder", "what", "tests", "seconds"], rows)


if __name__ == "__main__":
    PAGE.write_text(replace_block(PAGE.read_text(), "test times", times_table(Path(sys.argv[1]))))
