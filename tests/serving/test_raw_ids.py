"""Raw ids: encoding as the graph does it, padding, types."""

import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.models import Popularity, StackedLSTMClassifier
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, NumericSequence, Schema
from kerasrec.serving.raw_ids import (
    candidate_columns,
    check_vocabularies,
    encode_raw,
    known_by,
    nothing_known,
)

SCHEMA = Schema(
    user=(Categorical("user", 4), IdSequence("history", "item", 3)),
    item=(Categorical("item", 5), Bag("tags", 4, 2), Numeric("price")),
)
VOCABULARIES = {
    "user": Vocabulary.fit(["a", "b"]),
    "item": Vocabulary.fit([7, 8, 9]),
    "tags": Vocabulary.fit(["x", "y"]),
}


@pytest.mark.parametrize("padded, first", [(True, 0), (False, 1)])
def test_padding_is_zero_in_a_matrix_and_unknown_alone(padded, first):
    text = encode_raw(np.array(["", "b", "?"], object), VOCABULARIES["user"], padded=padded)
    numbers = encode_raw(np.array([[-1, 9], [5, 7]]), VOCABULARIES["item"], padded=padded)
    assert text.tolist() == [first, 3, 1] and text.dtype == np.int32
    assert numbers.tolist() == [[first, 4], [1, 2]]


def test_what_a_query_is_known_by():
    history, steps = (
        IdSequence("history", "item", 3),
        NumericSequence("steps", of="x", max_length=3),
    )
    ids = {"item": Categorical("item", 9)}
    both = StackedLSTMClassifier(Schema(user=(Categorical("user", 5), steps, history), **ids))
    numbers = StackedLSTMClassifier(Schema(user=(Categorical("user", 5), steps), **ids))
    plain = Popularity(Schema(user=Categorical("user", 5), **ids))
    assert [known_by(model) for model in (both, numbers, plain)] == ["history", "steps", "user"]
    none = np.nan
    assert nothing_known(np.float32([[none, 1], [0, 0], [none, none]])).tolist() == [
        False, False, True,
    ]  # fmt: skip
    assert nothing_known(np.array([2, 1, 0])).tolist() == [False, True, True]


def test_a_vocabulary_in_another_order_is_refused_by_name():
    """Same sizes, other items: what would be answered is wrong without a sign of it."""
    item = VOCABULARIES["item"]
    schema = Schema(user=SCHEMA.user[0], item=Categorical("item", 5, fingerprint=item.fingerprint))
    again = Vocabulary.fit([7, 7, 8, 9])  # counted anew, the same ids
    assert check_vocabularies(schema, {**VOCABULARIES, "item": again})["item"] is again
    with pytest.raises(ValueError, match=r"export: received: other vocabularies of \['item'\]"):
        check_vocabularies(schema, {**VOCABULARIES, "item": Vocabulary.fit([9, 8, 7])})


def test_other_vocabularies_are_left_out():
    used = check_vocabularies(SCHEMA, {**VOCABULARIES, "city": VOCABULARIES["user"]})
    assert sorted(used) == ["item", "tags", "user"]


def test_a_bag_needs_its_vocabulary():
    with pytest.raises(ValueError, match=r"missing \['tags'\]"):
        check_vocabularies(SCHEMA, {name: VOCABULARIES[name] for name in ("user", "item")})


def test_candidates_are_sorted_by_item_and_keep_the_callers_arrays():
    given = {"item": np.array([4, 2]), "tags": np.array([[2, 0], [3, 2]]), "price": [1, 2]}
    columns = candidate_columns(SCHEMA, VOCABULARIES, {**given, "more": np.zeros(9)})
    assert columns["item"].tolist() == [2, 4] and columns["item"].dtype == np.int32
    assert columns["tags"].tolist() == [[3, 2], [2, 0]]
    assert columns["price"].tolist() == [2.0, 1.0] and columns["price"].dtype == np.float32
    assert given["item"].tolist() == [4, 2] and "more" not in columns
