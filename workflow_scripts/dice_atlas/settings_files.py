"""Files that the config names, checked before anything runs."""

import os
from pathlib import Path
from typing import Any

from dice_atlas.errors import InputError, dead_link, reading
from dice_atlas.features.card import PRIOR, CardKind, card_of, read_card, require_match
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.names import CELLTYPIST, LOSSES
from dice_atlas.synthesis.settings import GENERATOR, CellRequest
from dice_atlas.texts import unusable_path
from dice_atlas.vocabulary import GENES


def require_file(setting: str, path: str, mend: str) -> None:
    """Check that a file is there that a setting names.

    Parameters
    ----------
    setting : its name.
    path : of the file.
    mend : ends the message.

    Raises
    ------
    InputError
        It is not, or Snakemake cannot take its path.
    """
    if why := unusable_path(path) or dead_link(path):
        raise InputError(f"{setting}: {why}")
    if not os.path.isfile(path):
        raise InputError(f"{setting}: no such file: {path}; {mend}")


def require_tables(annotate: dict[str, Any], python: str | None) -> None:
    """Check that the files are there that labels are read from beside the sheet.

    Parameters
    ----------
    annotate : section of the config.
    python : of the environment of CellTypist; None: the workflow makes it.

    Raises
    ------
    InputError
        One is not, or Snakemake cannot take its path.
    """
    files = {f"annotate.tables.{name}": path for name, path in annotate["tables"].items()}
    if isinstance(annotate["parents"], str):
        files["annotate.parents"] = annotate["parents"]
    if CELLTYPIST in annotate["voters"]:
        files["annotate.celltypist"] = annotate["celltypist"]
    for setting, path in files.items():
        require_file(setting, path, "correct the path")
    if CELLTYPIST in annotate["voters"] and python and not os.path.isfile(python):
        raise InputError(
            f"annotate.voters names {CELLTYPIST}, but annotate.celltypist_python is not there: "
            f"{python}; `make celltypist` makes it, or take {CELLTYPIST} out of the voters"
        )


def require_saved_prior(
    path: str | None, normalization: dict[str, Any], whole: bool = True
) -> None:
    """Check that a prior lies at `prior.path`, if given, and fits the normalisation.

    Its loadings and scaling hold for expression normalised as its own reference was.

    Parameters
    ----------
    path : of its folder.
    normalization : section of the config.
    whole : look at all of the weights as well; no job needs to do that once more.

    Raises
    ------
    InputError
        A file of the prior is missing or damaged, card and weights do not belong together, or it
        was trained on expression normalised otherwise.
    """
    if not path:
        return
    require_model_folder("prior.path", path, PRIOR)
    require_losses(Path(path) / "loss.tsv")
    weights = Path(path) / PRIOR.weights
    card = require_match(weights) if whole else read_card(card_of(weights))
    for key, value in normalization.items():
        trained = card.get("normalization", {}).get(key, value)
        if trained != value:
            raise InputError(
                f"normalization.{key}: seen {value:g}, but the prior in {path} was trained with "
                f"{trained:g}; set the same"
            )


def require_saved_generator(synthesis: dict[str, Any], whole: bool = True) -> None:
    """Check that a generator lies at `synthesis.path`, if given, and knows the classes asked for.

    Parameters
    ----------
    synthesis : section of the config.
    whole : look at all of the weights as well; no job needs to do that once more.

    Raises
    ------
    InputError
        A file is missing or damaged, card and weights do not belong together, or a class does not
        exist.
    """
    path = synthesis["path"]
    if not path:
        return
    require_model_folder("synthesis.path", path, GENERATOR)
    weights = Path(path) / GENERATOR.weights
    card = require_match(weights, GENERATOR) if whole else read_card(card_of(weights), GENERATOR)
    CellRequest.from_config(synthesis).numbers(card["classes"])


def require_model_folder(setting: str, path: str, kind: CardKind) -> None:
    """Check that a folder has the files of a saved model.

    Raises
    ------
    InputError
        One is missing, or Snakemake cannot take the path.
    """
    names = (kind.weights, "card.json", "loss.tsv")
    absent = [name for name in names if not os.path.isfile(os.path.join(path, name))]
    for name in absent:
        if why := dead_link(os.path.join(path, name)):
            raise InputError(f"{setting}: {why}")
    if absent:
        seen = f"{path} has no {', '.join(absent)}"
        others = [k for k in (PRIOR, GENERATOR) if os.path.isfile(os.path.join(path, k.weights))]
        if not os.path.exists(path):
            seen = f"there is no folder {path}"
        elif others and kind not in others:
            seen = f"{path} holds a {others[0].what}, not a {kind.what}"
        raise InputError(f"{setting}: {seen}; expected the folder {kind.folder} of an earlier run")
    if unusable_path(path):
        raise InputError(f"{setting}: {unusable_path(path)}")


def require_losses(path: Path) -> None:
    """Check that the losses of a saved prior can be drawn; a table without rows is no harm.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column, or has a row that is no numbers.
    """
    with reading(path, "a table of losses"):
        lines = path.read_text(encoding="utf-8").splitlines()
    header, *rows = [line.split("\t") for line in lines] or [[]]
    missing = [name for name in LOSSES if name not in header]
    if missing:
        seen = ", ".join(header) if any(header) else "an empty file"
        raise InputError(
            f"prior.path: {path} has no column {', '.join(missing)} (seen: {seen}), expected the "
            "losses of the training; copy the prior's folder again"
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(header) or not all(map(is_loss, row)):
            raise InputError(
                f"prior.path: {path}, line {number}: seen {' '.join(row)!r}, expected "
                f"{len(header)} numbers; copy the prior's folder again"
            )


def is_loss(text: str) -> bool:
    """Whether a text is a number or empty."""
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def require_gene_names(path: str | None) -> None:
    """Check that the file of `genes.names` is there, if given.

    Raises
    ------
    InputError
        It is not.
    """
    if path and path not in GENES:
        expected = (
            "expected human, mouse, a table of Ensembl ids and symbols, or an h5ad file whose var "
            "has both"
        )
        require_file("genes.names", path, expected)


def require_marker_lists(path: str | None) -> None:
    """Check that the lists of `annotate.markers` are there, if given, and can be read.

    Raises
    ------
    InputError
        They are not, or see `read_marker_list`.
    """
    if not path:
        return
    expected = "expected a csv or tsv with the columns type and gene; correct the path"
    require_file("annotate.markers", path, expected)
    read_marker_list(path)


def require_scvi(python: str) -> None:
    """Check that scVI's environment is there.

    Raises
    ------
    InputError
        It is not.
    """
    if not os.path.isfile(python):
        raise InputError(
            f"benchmark.methods names scvi, but benchmark.scvi_python is not there: {python}; "
            "`make scvi` makes it, or take scvi out of the methods"
        )
