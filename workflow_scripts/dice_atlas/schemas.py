"""Values of config and sample sheet against the rules (JSON schemas) of their keys and columns."""

import math
import re
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

# Whole numbers that every array of indices holds.
LARGEST = 2**31 - 1
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
FORMATS = FormatChecker()


# jsonschema's own lets what `re` raises besides re.error through.
@FORMATS.checks("regex", raises=(re.error, OverflowError, RecursionError))
def is_regex(value: object) -> bool:
    """Whether a text is a regular expression."""
    return not isinstance(value, str) or bool(re.compile(value))


def validator_of(rule: dict[str, Any]) -> Draft202012Validator:
    """The validator of a rule."""
    return Draft202012Validator(rule, format_checker=FORMATS)


def is_valid(value: Any, rule: dict[str, Any]) -> bool:
    """Whether a value meets a rule; a whole number must also fit 32 bits."""
    return not is_unusable(value, rule) and validator_of(rule).is_valid(value)


def is_unusable(value: Any, rule: dict[str, Any]) -> bool:
    """Whether a number is none to count with: nan, infinity, a whole one beyond 32 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return True
    return "integer" in kinds(rule) and abs(value) > LARGEST


def kinds(rule: dict[str, Any]) -> set[str]:
    """The types that a rule allows."""
    own = rule.get("type", [])
    found = {own} if isinstance(own, str) else set(own)
    return found.union(*(kinds(part) for part in rule.get("anyOf", [])))


def as_number(text: str) -> int | float | str:
    """The number that a text writes out, a whole one as an integer; else the text."""
    if not NUMBER.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number
