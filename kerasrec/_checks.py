"""Checks of arguments with one form of message: owner, argument, what is expected, what came.

All of them raise a ValueError. An owner is the name of a function or class, or an object, which
stands for its class. With `numpy`, numbers of NumPy pass too, which no saved configuration can
hold. A hint is a sentence at the end of the message: what else is allowed, or what to do. True and
False are no numbers. Only the standard library is used here.
"""

import math
import numbers
import operator
import os
from collections.abc import Callable, Iterable
from typing import Any


def check_integer(
    owner: object,
    argument: str,
    value: Any,
    least: int,
    most: int | None = None,
    *,
    numpy: bool = False,
    hint: str = "",
) -> None:
    """Check that a value is an integer of at least `least` and, if it is given, at most `most`."""
    integer = isinstance(value, numbers.Integral if numpy else int) and not isinstance(value, bool)
    if not integer or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _error(owner, argument, f"an integer {bounds}", value, hint)


def check_number(
    owner: object,
    argument: str,
    value: Any,
    *,
    zero: bool = True,
    numpy: bool = False,
    hint: str = "",
) -> None:
    """Check that a value is a finite number of at least 0, or above 0 unless `zero`."""
    if not _is_number(value, numpy) or not 0 <= value < math.inf or (value == 0 and not zero):
        bounds = "of at least 0" if zero else "above 0"
        raise _error(owner, argument, f"a finite number {bounds}", value, hint)


def check_finite(owner: object, argument: str, value: Any) -> None:
    """Check that a value is a finite number."""
    if not _is_number(value, False) or not math.isfinite(value):
        raise _error(owner, argument, "a finite number", value)


def check_share(
    owner: object,
    argument: str,
    value: Any,
    *,
    zero: bool = True,
    one: bool = True,
    numpy: bool = False,
    hint: str = "",
) -> None:
    """Check that a value is a number from 0 to 1, with or without these two."""
    inside = _is_number(value, numpy) and 0 <= value <= 1
    if not inside or (value == 0 and not zero) or (value == 1 and not one):
        lower = "from 0 to" if zero else "above 0 and at most" if one else "above 0 and"
        bounds = f"{lower} {'1' if one else 'less than 1'}"
        raise _error(owner, argument, f"a number {bounds}", value, hint)


def check_choice(
    owner: object, argument: str, value: Any, choices: Iterable[Any], *, hint: str = ""
) -> None:
    """Check that a value is one of several."""
    choices = tuple(choices)
    if value not in choices:
        expected = f"one of {', '.join(map(repr, choices))}"
        raise _error(owner, argument, expected, value, hint)


def check_flag(owner: object, argument: str, value: Any) -> None:
    """Check that a value is True or False."""
    if not isinstance(value, bool):
        raise _error(owner, argument, "True or False", value)


def check_memory(owner: object, what: str, needed: int, hint: str) -> None:
    """Check that the machine has the memory, in bytes, that something needs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        name = owner if isinstance(owner, str) else type(owner).__name__
        raise ValueError(
            f"{name}: {what} need {needed:,} bytes ({needed / 2**30:,.1f} GiB) of memory; this "
            f"machine has {memory / 2**30:,.1f} GiB. {hint}"
        )


def _is_number(value: Any, numpy: bool) -> bool:
    kinds = (numbers.Real,) if numpy else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _error(owner: object, argument: str, expected: str, value: Any, hint: str = "") -> ValueError:
    name = owner if isinstance(owner, str) else type(owner).__name__
    end = f" {hint}" if hint else ""
    return ValueError(f"{name}: {argument} must be {expected}; received {value!r}.{end}")


def check_name(kind: str, name: object) -> None:
    """Check that a name is a non-empty string."""
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"{kind} needs a non-empty string as its name; received {name!r}. "
            "Use the name of the column, such as 'user_id'."
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
