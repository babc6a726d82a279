import math

import numpy as np
import pytest

from kerasrec import _checks as checks


class Model:
    """An owner that is an object."""


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None, math.nan, np.int64(3)])
def test_integers_are_integers(value):
    message = f"test: size must be an integer of at least 1; received {value!r}.$"
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        checks.check_integer("test", "size", value, 1)


def test_an_integer_has_bounds_a_hint_and_an_owner():
    checks.check_integer("test", "k", 1, 1, 3)
    checks.check_integer("test", "k", 3, 1, 3)
    checks.check_integer("test", "k", np.int64(3), 1, 3, numpy=True)
    message = r"Model: k must be an integer from 1 to 3; received 4\. Ask for fewer\.$"
    with pytest.raises(ValueError, match=message):
        checks.check_integer(Model(), "k", 4, 1, 3, hint="Ask for fewer.")
    for wrong in (np.True_, np.float64(1), np.array([1]), True):
        with pytest.raises(ValueError, match="k must be an integer from 1 to 3; received"):
            checks.check_integer("test", "k", wrong, 1, 3, numpy=True)


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, True, "1", None, np.float32(1)])
def test_numbers_are_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="test: l2 must be a finite number of at least 0; rec"):
        checks.check_number("test", "l2", value)


def test_zero_is_a_number_where_it_may_be():
    checks.check_number("test", "l2", 0)
    checks.check_number("test", "l2", np.float32(1), numpy=True)
    for value in (0, 0.0):
        with pytest.raises(ValueError, match="l2 must be a finite number above 0; received 0"):
            checks.check_number("test", "l2", value, zero=False)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ({}, "from 0 to 1"),
        ({"one": False}, "from 0 to less than 1"),
        ({"zero": False}, "above 0 and at most 1"),
        ({"zero": False, "one": False}, "above 0 and less than 1"),
    ],
)
def test_shares_have_ends(ends, text):
    for value in (0, 0.5, 1):
        if ends.get({0: "zero", 1: "one"}.get(value), True):
            checks.check_share("test", "rate", value, **ends)
        else:
            with pytest.raises(ValueError, match=f"test: rate must be a number {text}; received"):
                checks.check_share("test", "rate", value, **ends)
    for value in (-0.1, 1.1, math.nan, True, "0.5", None):
        with pytest.raises(ValueError, match=f"test: rate must be a number {text}; received"):
            checks.check_share("test", "rate", value, **ends)


def test_choices_and_flags():
    checks.check_choice("test", "by", None, (None, "day"))
    with pytest.raises(ValueError, match="test: by must be one of 'a', 'b'; received 'c'. Try a."):
        checks.check_choice("test", "by", "c", ("a", "b"), hint="Try a.")
    checks.check_flag("test", "shuffle", False)
    with pytest.raises(ValueError, match="test: shuffle must be True or False; received 1"):
        checks.check_flag("test", "shuffle", 1)
