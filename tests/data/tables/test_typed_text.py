"""Text to ids, numbers and times: two ids never become one, and no value is guessed at."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data.tables.typed_text import to_id_type, typed


def ids(values, id_type="auto"):
    return to_id_type(pa.array(values), "column 'user_id'", id_type).to_pylist()


@given(st.lists(st.text(st.sampled_from("0123.-+ae"), min_size=1, max_size=5), min_size=1))
def test_distinct_text_stays_distinct_or_is_refused(values):
    for kind in ("auto", "string"):
        try:
            found = ids(values, kind)
        except ValueError as error:
            assert "id_type=" in str(error)
            continue
        if kind == "string":
            assert found == values
        same = {text.rstrip("0").rstrip(".") if "." in text else text for text in values}
        assert len(set(found)) in (len(set(values)), len(same))
        if any(text.startswith("0") and text[1:2].isdigit() for text in values):
            assert found == values


def test_declared_types():
    assert ids(["7", "007"], "string") == ["7", "007"]
    assert ids(["7", "8.0", None], "integer") == [7, 8, None]
    assert ids([7, 8], "string") == ["7", "8"]
    assert ids([7, 8], "integer") == [7, 8]
    for values, message in (
        (["7", "007"], "received '007' in row 2.*id_type='string'"),
        (["7", "a"], "received 'a' in row 2"),
        (["9223372036854775808", "1"], "2\\*\\*63 - 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ids(values, "integer")
    with pytest.raises(ValueError, match="must be one of.*received 'int'"):
        ids(["7"], "int")
    with pytest.raises(ValueError, match="takes text and integers; received the type double"):
        ids([1.5], "string")


def floats(values, **options):
    return typed(pa.array(values), "label", "column 'rating'", **options).to_pylist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["True", "False"], [1, 0]),
        (["true", None, "FALSE"], [1, None, 0]),
        (["4,5", "3"], [4.5, 3]),
        (["4,125", "3,5"], [4.125, 3.5]),
        (["1e3", "-.5"], [1000, -0.5]),
    ],
)
def test_labels(values, expected):
    assert floats(values) == expected


def test_a_comma_that_may_mean_thousands_is_refused():
    with pytest.raises(ValueError, match="received '1,234' in row 1.*decimal=','"):
        floats(["1,234", "5"])
    assert floats(["1,234", "5"], decimal=",") == [1.234, 5]
    with pytest.raises(ValueError, match="'rating'.*received '4.5', which has a point"):
        floats(["4.5", "5"], decimal=",")
    with pytest.raises(ValueError, match="expected numbers; received '4,5'"):
        floats(["4,5", "5"], decimal=".")
    with pytest.raises(ValueError, match="expected numbers; received 'yes' in row 2"):
        floats(["True", "yes"])
