"""One call gives what the single steps give; histories hold what was before, and nothing later."""

import numpy as np
import pytest

from kerasrec import data

TABLE = {
    "user_id": list("aaaabbb"),
    "item_id": [1, 2, 3, 4, 1, 2, 3],
    "rating": [5, 5, 1, 5, 5, 5, 1],
    "timestamp": [4, 1, 2, 3, 1, 2, 3],
}


@pytest.fixture
def rows():
    return data.Interactions.from_table(TABLE)


def histories(ready, part):
    items = ready.vocabularies["item_id"]
    rows = part["history"][np.arange(len(part["user_id"]))]
    return [items.decode(row[row > 1]).tolist() for row in rows]


def test_one_call_is_the_four_steps(rows):
    split = data.leave_last_out(rows)
    ready = data.prepare(split, positive=">=4", min_count=1)
    vocabularies = data.fit_vocabularies(split.train, positive=">=4")
    assert ready.schema == data.make_schema(split.train, vocabularies, positive=">=4")
    for part, raw in ((ready.train, split.train), (ready.valid, split.valid)):
        for name, values in data.encode(raw, vocabularies).items():
            np.testing.assert_array_equal(part[name], values)
    again = data.prepare(rows, vocabularies=ready.vocabularies)
    assert again.vocabularies == ready.vocabularies
    assert again.train["item_id"].tolist()[3] == 1  # of no training row above


def test_rows_know_what_was_before_them(rows):
    plain = data.prepare(data.leave_last_out(rows))
    ready = data.prepare(data.leave_last_out(rows), history=2)
    # In order of time user a had 2, 3, 4, 1; item 4 has no training row and is unknown.
    assert histories(ready, ready.train) == [[], [2], []]
    assert histories(ready, ready.valid) == [[2, 3], [1]]
    assert histories(ready, ready.test) == [[3], [1, 2]]
    assert ready.schema.user[-1].max_length == 2
    assert "history" not in plain.train
    assert ready.fingerprint() == plain.fingerprint()
    with pytest.raises(ValueError, match="max_length must be"):
        data.prepare(rows, history=0)


def test_no_validation_rows(rows):
    ready = data.prepare(data.leave_last_out(rows, valid=0), history=3)
    assert len(ready.valid["item_id"]) == 0
    assert [len(items) for items in histories(ready, ready.test)] == [3, 2]


def test_interactions_alone_are_all_training_rows(rows):
    ready = data.prepare(rows, history=2)
    assert len(ready.train["item_id"]) == 7 and len(ready.test["item_id"]) == 0
    assert histories(ready, ready.train)[0] == [3, 4]


def test_seen_items_stand_in_order_of_time(rows):
    ready = data.prepare(data.leave_last_out(rows))
    seen = ready.seen()
    items = ready.vocabularies["item_id"]
    assert seen["user_id"].tolist() == [2] * 4 + [3] * 3
    assert items.decode(seen["item_id"][4:]).tolist()[:2] == [1, 2]
    assert seen["item_id"][2] == 1 and set(seen) == {"user_id", "item_id"}


def test_positives_are_those_of_the_rule(rows):
    split = data.leave_last_out(rows)
    ready = data.prepare(split, positive=">=4")
    assert ready.positives(ready.train).tolist() == [1, 0, 1]
    assert ready.has_targets(ready.valid) and not ready.has_targets(
        {name: values[:0] for name, values in ready.valid.items()}
    )
    ready.check_positives()
    with pytest.raises(ValueError, match="positive='>5': none of 3 training rows.*highest is 5"):
        data.prepare(split, positive=">5").check_positives()
