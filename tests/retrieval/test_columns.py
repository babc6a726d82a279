"""Vocabularies and encoded columns that fit a schema, and those that do not."""

import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.retrieval.columns import (
    candidate_columns,
    check_column,
    check_vocabularies,
    nothing_known,
)
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, NumericSequence, Schema

SCHEMA = Schema(
    user=(
        Categorical("user", 4),
        IdSequence("history", "item", 3),
        NumericSequence("steps", of="x", max_length=3),
    ),
    item=(Categorical("item", 5), Bag("tags", 4, 2), Numeric("price")),
)
VOCABULARIES = {
    "user": Vocabulary.fit(["a", "b"]),
    "item": Vocabulary.fit([7, 8, 9]),
    "tags": Vocabulary.fit(["x", "y"]),
}


def test_a_vocabulary_in_another_order_is_refused_by_name():
    """Same sizes, other items: what would be answered is wrong without a sign of it."""
    item = VOCABULARIES["item"]
    schema = Schema(user=SCHEMA.user[0], item=Categorical("item", 5, fingerprint=item.fingerprint))
    again = Vocabulary.fit([7, 7, 8, 9])  # counted anew, the same ids
    names = ["user", "item"]
    checked = check_vocabularies("export", schema, {**VOCABULARIES, "item": again}, names)
    assert checked["item"] is again
    other = {**VOCABULARIES, "item": Vocabulary.fit([9, 8, 7])}
    with pytest.raises(ValueError, match=r"export: received: other vocabularies of \['item'\]"):
        check_vocabularies("export", schema, other, names)


def test_other_vocabularies_are_left_out():
    given = {**VOCABULARIES, "city": VOCABULARIES["user"]}
    used = check_vocabularies("export", SCHEMA, given, ["user", "item", "tags"])
    assert sorted(used) == ["item", "tags", "user"]


@pytest.mark.parametrize(
    "given, message",
    [
        ([], "recommend: vocabularies must be a dict of feature name to Vocabulary; received list"),
        ({"user": VOCABULARIES["user"]}, r"received \['user'\], missing \['item'\]"),
        ({**VOCABULARIES, "item": [7, 8, 9]}, "'item'.* must be a kerasrec.data.Vocabulary; rec"),
        ({**VOCABULARIES, "item": VOCABULARIES["user"]}, "has 5 ids, the vocabulary 4"),
    ],
)
def test_vocabularies_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        check_vocabularies("recommend", SCHEMA, given, ["user", "item"])


def test_candidates_are_sorted_by_item_and_keep_the_callers_arrays():
    given = {"item": np.array([4, 2]), "tags": np.array([[2, 0], [3, 2]]), "price": [1, 2]}
    columns = candidate_columns("export", SCHEMA, {**given, "more": np.zeros(9)})
    assert columns["item"].tolist() == [2, 4] and columns["item"].dtype == np.int32
    assert columns["tags"].tolist() == [[3, 2], [2, 0]]
    assert columns["price"].tolist() == [2.0, 1.0] and columns["price"].dtype == np.float32
    assert given["item"].tolist() == [4, 2] and "more" not in columns


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("user", [1.5], "the type int32; received"),
        ("user", [4], "must hold ids from 0 to 3; received 4 to 4"),
        ("history", [2, 3], r"must have the shape \(rows, 3\)"),
        ("price", [np.nan], "holds NaN or infinity"),
    ],
)
def test_badly_encoded_columns_are_refused(name, values, message):
    with pytest.raises(ValueError, match=message):
        check_column("x", SCHEMA, SCHEMA.feature(name), values, rows="rows")


def test_histories_may_have_any_width_and_padding():
    history = check_column("x", SCHEMA, SCHEMA.feature("history"), [[2, 3, 4, 0]], rows="rows")
    assert history.shape == (1, 4) and history.dtype == np.int32
    steps = check_column("x", SCHEMA, SCHEMA.feature("steps"), [[1, np.nan]], rows="rows")
    assert steps.shape == (1, 2) and steps.dtype == np.float32


def test_a_query_without_known_values():
    none = np.nan
    assert nothing_known(np.float32([[none, 1], [0, 0], [none, none]])).tolist() == [
        False, False, True,
    ]  # fmt: skip
    assert nothing_known(np.array([2, 1, 0])).tolist() == [False, True, True]
