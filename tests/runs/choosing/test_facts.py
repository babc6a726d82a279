"""Facts of prepared rows, counted by hand."""

import dataclasses
import json

import numpy as np
import pytest

from kerasrec import data
from kerasrec.runs import choose
from kerasrec.runs.choosing.facts import Facts

# Users 1 to 4 with 4, 2, 1 and 1 of three items.
ROWS = {
    "user_id": [1, 1, 1, 2, 2, 3, 4],
    "item_id": [5, 6, 7, 5, 6, 5, 5],
    "rating": [4, 2, 5, 5, 1, 3, 5],
    "timestamp": [1, 2, 3, 4, 5, 6, 7],
}


def of(table, **options):
    return Facts.of(data.prepare(data.Interactions.from_table(table), **options))


def test_what_is_counted():
    facts = of(ROWS, positive=">=4")
    assert facts == Facts(
        rows=4,
        users=4,
        items=3,
        history=3,  # of 1, 1, 2 and 3 items
        labels="ratings",
        mean_label=pytest.approx(25 / 7),
        pairs=7,
        validation=0,
        effective_items=16 / 10,  # 3 positive rows of item 5 and 1 of item 7
    )
    assert (facts.rows_per_user, facts.rows_per_item) == (1.0, 4 / 3)
    assert facts.describe() == "4 positive rows, 4 users, 3 items"


@pytest.mark.parametrize(
    ("ratings", "kind"),
    [
        ([4, 2, 5, 5, 1, 3, 5], "ratings"),
        ([1, 0, 1, 1, 0, 1, 1], "binary"),
        ([1] * 7, "binary"),
        (None, "none"),
    ],
)
def test_the_kind_of_the_labels(ratings, kind):
    table = {**ROWS, "rating": ratings}
    if ratings is None:
        del table["rating"]
        rows = data.Interactions.from_table(table, label=None)
        assert Facts.of(data.prepare(rows)).labels == kind
    else:
        assert of(table).labels == kind


def test_held_out_rows_are_validation_rows_and_no_others():
    rows = data.Interactions.from_table(ROWS)
    facts = Facts.of(data.prepare(data.leave_last_out(rows)))
    whole = Facts.of(data.prepare(rows))
    assert facts.validation > 0 == whole.validation
    assert facts.pairs < whole.pairs == 7


def test_ids_that_became_unknown_are_no_users_and_no_items():
    facts = of(ROWS, min_count=2)  # users 1 and 2, items 5 and 6
    assert (facts.users, facts.items, facts.pairs) == (2, 2, 7)
    none = dataclasses.replace(facts, users=0, items=0)
    assert np.isfinite([none.rows_per_item, none.rows_per_user]).all()


def test_what_is_not_prepared_is_refused():
    split = data.leave_last_out(data.Interactions.from_table(ROWS))
    with pytest.raises(ValueError, match=r"choose: ready must be what .*prepare.*Split\."):
        choose("NeuMF", split)


# Positives pair each of 5 users with each of 5 apps, at either time of the day; in rows of no
# click, apps and users are others.
CLICKS = {
    "user": [f"u{n % 5}" for n in range(50)] + [f"v{n}" for n in range(30)],
    "app": [f"a{n % 25 // 5}" for n in range(50)] + [f"b{n % 15}" for n in range(30)],
    "time": ["day"] * 25 + ["night"] * 25 + ["day", "night"] * 15,
    "click": [1] * 50 + [0] * 30,
}


@pytest.mark.parametrize(
    ("changed", "cross"),
    [
        ({}, ("app", "user")),
        ({"time": None, "click": [1] * 25 + [0] * 55}, ()),  # each pair once
        ({"app": [f"a{n % 5}" for n in range(80)]}, ()),  # the user tells the app
        ({"app": np.arange(80.0), "time": None}, ()),  # one column of categories
    ],
)
def test_pairs_of_values_that_most_positive_rows_share(changed, cross):
    table = {name: column for name, column in {**CLICKS, **changed}.items() if column is not None}
    rows = data.Examples.from_table(table, label="click")
    kinds = {"user": "categorical", "app": "categorical", "time": "categorical"}
    if not isinstance(table["app"], list):
        kinds["app"] = "numeric"
    features = {name: kind for name, kind in kinds.items() if name in table}
    facts = Facts.of(data.prepare_examples(rows, features=features))
    assert facts.cross == cross


def test_facts_are_the_same_after_json():
    facts = dataclasses.replace(of(ROWS), cross=("app", "user"))
    assert Facts(**json.loads(json.dumps(dataclasses.asdict(facts)))) == facts
