"""Write envs/image.txt: the lock with the checksums of PyPI's files, for envs/Dockerfile.

python envs/lock_image.py (from `make lock`; on Linux x86_64, as the image is)
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
HEAD = (
    "# The lock and CUDA's libraries with checksums, for the image. Made by `make lock`. "
    "Python 3.11, Linux x86_64."
)


def resolve(lock: Path) -> dict[str, Any]:
    """What pip would install of PyPI's files for a lock, as its report says it."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    index = ["--index-url", "https://pypi.org/simple", "--report", "-", "-r", str(lock)]
    # Other sources may have other builds under the same names.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    made = subprocess.run(
        [*command, *index], env=own | {"PIP_CONFIG_FILE": os.devnull}, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(made.stdout)


def lines(report: dict[str, Any]) -> list[str]:
    """Requirements with checksums, of a report of pip."""
    found = []
    for item in report["install"]:
        name, version = (
            item["metadata"]["name"].lower().replace("_", "-"),
            item["metadata"]["version"],
        )
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        found.append(f"{name}=={version} --hash=sha256:{digest}")
    return sorted(found)


if __name__ == "__main__":
    text = "\n".join([HEAD, *lines(resolve(FOLDER.parent / "requirements.txt"))])
    (FOLDER / "image.txt").write_text(text + "\n")
