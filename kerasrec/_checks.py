"""Argument checks for schemas. Only the standard library is imported here."""

import math
import operator
from collections.abc import Callable
from typing import Any


def check_name(kind: str, name: object) -> None:
    """Check that a name is a non-empty string."""
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"{kind} needs a non-empty string as its name; received {name!r}. "
            "Use the name of the column, such as 'user_id'."
        )


def check_count(owner: str, argument: str, value: object, minimum: int) -> None:
    """Check that a count is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"{owner}: {argument} must be an integer of at least {minimum}; received {value!r}."
        )


def check_fingerprint(owner: str, value: object) -> None:
    """Check that a fingerprint is a non-empty string or None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(
            f"{owner}: fingerprint must be that of a Vocabulary, a text, or None where the ids "
            f"come from elsewhere; received {value!r}."
        )


def read_comparison(rule: object) -> Callable[[Any], Any]:
    """Parse a comparison with a number, such as ">=4"."""
    text = rule.strip() if isinstance(rule, str) else ""
    sign = ">=" if text.startswith(">=") else ">"
    try:
        threshold = float(text.removeprefix(sign)) if text.startswith(sign) else math.nan
    except ValueError:
        threshold = math.nan
    if not math.isfinite(threshold):
        raise ValueError(
            f"positive={rule!r}: expected '>' or '>=' and a number, such as '>0' or '>=4'."
        )
    compare = operator.ge if sign == ">=" else operator.gt
    return lambda labels: compare(labels, threshold)
