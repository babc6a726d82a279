"""Vocabularies and encoded columns that fit a schema, and those that do not."""

import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.retrieval.columns import (
    candidate_columns,
    check_column,
    check_vocabularies,
    nothing_known,
    side_columns,
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


ITEMS = {
    "item": np.arange(5),
    "tags": np.array([[0, 0], [1, 0], [3, 2], [2, 2], [2, 0]]),
    "price": [np.nan, np.nan, 2, 1, np.nan],  # missing
    "more": np.zeros(9),
}


def test_candidates_are_sorted_rows_of_the_table_of_items():
    columns = candidate_columns("export", SCHEMA, ITEMS, np.array([4, 2]))
    assert columns["item"].tolist() == [2, 4] and columns["item"].dtype == np.int32
    assert columns["tags"].tolist() == [[3, 2], [2, 0]]
    np.testing.assert_array_equal(columns["price"], np.float32([2, np.nan]))
    assert columns["price"].dtype == np.float32 and "more" not in columns
    assert candidate_columns("export", SCHEMA, ITEMS)["item"].tolist() == [2, 3, 4]


def test_the_id_and_histories_are_no_columns_of_a_table():
    assert sorted(side_columns("export", SCHEMA, "item", ITEMS)) == ["price", "tags"]
    users = {"user": np.arange(4), "history": np.zeros((4, 3), int)}
    assert side_columns("export", SCHEMA, "user", users) == {}
    assert side_columns("export", SCHEMA, "user", None) == {}
    assert side_columns("export", Schema(item=SCHEMA.item), "user", users) == {}


@pytest.mark.parametrize(
    "items, more, message",
    [
        (None, {}, r"items must hold the columns \['tags', 'price'\] .*received None"),
        ({"tags": ITEMS["tags"]}, {}, r"columns \['price'\] .*received \['tags'\].*PreparedData"),
        ([], {}, "items must be a dict of encoded columns.*received list"),
        ({**ITEMS, "item": np.arange(2, 5)}, {}, r"one row for each .* from 0 to 4.*\(3,\)"),
        ({**ITEMS, "tags": ITEMS["tags"][2:]}, {}, r"'tags'\] must have one row for each of the 5"),
        ({**ITEMS, "tags": ITEMS["tags"] + 1}, {}, "'tags'. must hold ids from 0 to 3; received 1"),
        ({**ITEMS, "price": [np.inf] * 5}, {}, "'price'. holds an infinite number. NaN stands"),
        (ITEMS, {"candidates": {"item": [2]}}, "encoded ids .*Features of items go into items="),
        (ITEMS, {"candidates": []}, "must be the encoded ids"),
        (ITEMS, {"candidates": [2, 3, 2]}, "must hold every item once; received 1 repeated"),
        (ITEMS, {"candidates": [1]}, "candidates must hold ids from 2 to 4; received 1 to 1"),
        (ITEMS, {"filter_by": "mood"}, r"the columns \['mood'\] of every item"),
        (ITEMS, {"filter_by": "more", "num_categories": 3}, "'more'. must hold encoded ids, "),
    ],
)
def test_tables_of_items_that_do_not_fit_are_refused(items, more, message):
    with pytest.raises(ValueError, match=message):
        candidate_columns("export", SCHEMA, items, **more)


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("user", [1.5], "the type int32; received"),
        ("user", [4], "must hold ids from 0 to 3; received 4 to 4"),
        ("history", [2, 3], r"must have the shape \(rows, 3\)"),
        ("price", [-np.inf], "holds an infinite number"),
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
    steps = np.float32([[none, 1], [0, 0], [none, none]])
    query = {"steps": steps, "user": np.array([2, 1, 0])}
    assert nothing_known(query, ["steps"]).tolist() == [False, False, True]
    assert nothing_known(query, ["user"]).tolist() == [False, True, True]
    assert nothing_known(query, ["user", "steps"]).tolist() == [False, False, True]
    assert nothing_known(query, []).tolist() == [False, False, False]  # nothing says who asks
