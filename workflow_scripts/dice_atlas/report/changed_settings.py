"""The settings that a reader looks for first: those that differ from the defaults."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dice_atlas.report.tables import Table


def settings_table(
    config: Mapping[str, Any], defaults: Mapping[str, Any], sheet: Mapping[str, Mapping[str, Any]]
) -> Table | None:
    """Settings that differ from their defaults, and limits that a sample has of its own.

    Parameters
    ----------
    config, defaults : of the run, and of a config that sets nothing.
    sheet : rows of the sample sheet by sample; `qc` holds a sample's own limits.

    Returns
    -------
    Table or None
        None where all is as by default.
    """
    rows = [
        [key, written(value), written(default)] for key, value, default in changed(config, defaults)
    ]
    for sample, row in sheet.items():
        for name, value in row.get("qc", {}).items():
            rows.append(
                [f"qc.{name} ({sample})", written(value), written(config.get("qc", {}).get(name))]
            )
    return Table(["setting", "here", "default"], rows, [False] * 3) if rows else None


def changed(
    config: Mapping[str, Any], defaults: Mapping[str, Any], before: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and default of each setting that differs."""
    for name, value in config.items():
        key, default = f"{before}{name}", defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping) and default:
            yield from changed(value, default, f"{key}.")
        elif value != default:
            yield key, value, default


def written(value: Any) -> str:
    """A value as the config writes it."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()


def config_text(config: Mapping[str, Any]) -> str:
    """The config as YAML that can be used again, a line for each short list or section."""
    return yaml.safe_dump(
        dict(config), default_flow_style=None, sort_keys=False, allow_unicode=True, width=96
    )
