"""What a job loads at its start: slow libraries only where it needs them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
# Libraries that take a second or more to load.
SLOW = {
    "harmonypy", "igraph", "leidenalg", "matplotlib", "pydeseq2", "scanpy", "scrublet", "sklearn",
    "torch", "umap",
}  # fmt: skip
# All other scripts load none of them before they know that they need it.
LOADED = {
    "augment_reference": {"torch"},
    "cluster_cells": {"scanpy", "sklearn"},
    "cluster_query": {"scanpy", "sklearn"},
    "collect_benchmark": {"matplotlib"},
    "compare_conditions": {"pydeseq2"},
    "correct_batches": {"sklearn"},
    "denoise_shard": {"torch"},
    "embed_benchmark": {"sklearn"},
    "embed_synthetic": {"scanpy"},
    "embed_umap": {"scanpy"},
    "export_cellxgene": {"matplotlib"},
    "export_seurat": {"matplotlib"},
    "fit_loadings": {"sklearn"},
    "gather_synthetic": {"torch"},
    "render_report": {"matplotlib"},
    "render_synthesis": {"matplotlib"},
    "score_augment": {"sklearn", "torch"},
    "score_benchmark": {"scanpy", "sklearn"},
    "score_metrics": {"scanpy", "sklearn"},
    "score_synthesis": {"sklearn", "torch"},
    "split_benchmark": {"sklearn"},
    "synthesize_cells": {"torch"},
    "train_prior": {"torch"},
    "train_synthesis": {"torch"},
    "vote_linear": {"sklearn"},
    "write_atlas": {"matplotlib"},
}


def imported_at_start(path: Path) -> Iterator[str]:
    """Modules that a file imports, and what may be modules of their packages; not in functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def loaded(path: Path, found: set[str]) -> set[str]:
    """Modules and packages that a file loads; those of the library with what they load."""
    named = [name.split(".") for name in imported_at_start(path)]
    for name in {".".join(parts[:i]) for parts in named for i in range(1, len(parts) + 1)} - found:
        found.add(name)
        if name.split(".")[0] == "dice_atlas":
            base = SCRIPTS / name.replace(".", "/")
            for own in (base.with_suffix(".py"), base / "__init__.py"):
                if own.exists():
                    loaded(own, found)
    return found


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_loads_the_slow_libraries_that_it_needs(script):
    found = {name.split(".")[0] for name in loaded(script, set())}
    assert found & SLOW == LOADED.get(script.stem, set())


def test_the_table_is_of_scripts_that_are_there():
    assert set(LOADED) <= {path.stem for path in SCRIPTS.glob("*.py")}
