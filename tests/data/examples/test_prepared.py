import numpy as np
import pandas as pd
import pytest

from kerasrec.data import (
    Buckets,
    Examples,
    ExampleSplit,
    Interactions,
    prepare_examples,
    windows,
)
from kerasrec.schema import Bag, Categorical, Numeric

TRAIN = {
    "age": [20.5, 31.0, None, 44.0, 20.5, 31.0],
    "city": ["Rome", "Oslo", "Rome", None, "Oslo", "Rome"],
    "on": [True, False, True, True, False, True],
    "tags": ["a|b", "b", None, "a", "b|c", "a"],
    "big": [2**40, 2**41, 2**40, 2**41, 2**40, 2**41],
    "title": ["t1", "t2", "t3", "t4", "t5", "t6"],
    "constant": [7] * 6,
    "label": [0, 1, 1, 0, 1, 0],
}


def ready_of(train=None, test=None, **options):
    train = Examples.from_table(train or TRAIN)
    test = None if test is None else Examples.from_table(test)
    return prepare_examples(ExampleSplit(train, test=test), **options)


def test_kinds_are_inferred_and_useless_columns_are_left_out():
    ready = ready_of()
    kinds = {feature.name: type(feature) for feature in ready.schema.features}
    assert kinds == {
        "age": Numeric, "city": Categorical, "on": Categorical, "tags": Bag, "big": Categorical,
    }  # fmt: skip
    assert ready.schema.user == ready.schema.item == ()
    notes = dict(note.split(" is ", 1) for note in ready.notes)
    assert notes["'title'"] == "left out: almost all values differ"
    assert notes["'constant'"] == "left out: all values are 7"


def test_values_by_hand():
    test = {
        "age": [25.0, None, 1e9],
        "city": ["Oslo", None, "Paris"],
        "on": [False, True, None],
        "tags": ["c|a|z", "", None],
        "big": [2**41, 5, None],
        "title": ["t9", "t1", "t2"],
        "constant": [7, 8, 9],
        "label": [1, 0, 1],
    }
    ready = ready_of(test=test)
    np.testing.assert_array_equal(ready.test["age"], np.float32([25, np.nan, 1e9]))
    age = ready.schema.feature("age")
    assert (age.mean, round(age.deviation, 4)) == (29.4, 8.6799)
    # 1 is unknown: Paris was never seen, and a missing city is unknown as well.
    assert ready.test["city"].tolist() == [3, 1, 1]
    assert ready.test["on"].tolist() == [3, 2, 1]
    assert ready.test["big"].tolist() == [3, 1, 1]
    assert ready.test["tags"].tolist() == [[4, 2], [0, 0], [0, 0]]  # as wide as the widest row
    assert ready.train["city"].tolist() == [2, 3, 2, 1, 3, 2]


def test_a_frame_with_gaps_equals_a_table():
    frame = pd.DataFrame(TRAIN)
    one, other = prepare_examples(Examples.from_table(frame)), ready_of()
    assert one.schema == other.schema
    for name, values in other.train.items():
        np.testing.assert_array_equal(one.train[name], values)


def test_kinds_are_chosen():
    ready = ready_of(features={"age": "buckets", "city": "categorical"})
    assert isinstance(ready.vocabularies["age"], Buckets)
    assert [feature.name for feature in ready.schema.features] == ["age", "city"]
    assert [f.name for f in ready_of(features=["on"]).schema.features] == ["on"]


def test_rare_categories_are_unknown():
    ready = ready_of(min_count=3, features=["city", "on"])
    assert ready.vocabularies["city"].ids.tolist() == ["Rome"]
    assert ready.train["city"].tolist() == [2, 1, 2, 1, 1, 2]


def test_kinds_of_the_file_hold_unless_others_are_chosen():
    rows = Examples.from_table(
        {"code": list(range(100)), "label": [0, 1] * 50}, kinds={"code": "categorical"}
    )
    assert isinstance(prepare_examples(rows).schema.feature("code"), Categorical)
    chosen = prepare_examples(rows, features={"code": "numeric"})
    assert isinstance(chosen.schema.feature("code"), Numeric)


def test_rows_of_a_run_are_encoded_as_before():
    ready = ready_of()
    again = ready_of(vocabularies=ready.vocabularies, schema=ready.schema)
    assert again.schema == ready.schema
    assert again.fingerprint() == ready.fingerprint()
    other = ready_of({**TRAIN, "city": [*TRAIN["city"][:5], "Oslo"]})
    changed = {
        name
        for name, value in ready.fingerprint()["train"]["sha256"].items()
        if other.fingerprint()["train"]["sha256"][name] != value
    }
    assert changed == {"city"}


def test_labels_and_positives():
    ready = ready_of({"x": [1.5, 2.5, 3.5], "label": [1, 3, 5]}, positive=">=3")
    assert ready.positives(ready.train).tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"none of 3 training rows .* goes from 1 to 5"):
        ready_of({"x": [1.5, 2.5, 3.5], "label": [1, 3, 5]}, positive=">=9").check_positives()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"x": [1.5, 2.5], "y": [0, 1], "label": [0, 1]}, {}, "'y' equals the label 'label'"),
        ({"x": [1, 1], "label": [0, 1]}, {}, "no column carries information"),
        (TRAIN, {"features": ["title"]}, "carries no information"),
        (TRAIN, {"features": ["nothing"]}, r"no feature columns \['nothing'\]"),
        (TRAIN, {"features": "age"}, "several names"),
        (TRAIN, {"features": {"city": "numeric"}}, "cannot be read as numeric"),
        (TRAIN, {"features": {"city": "number"}}, "features"),
        (TRAIN, {"min_count": 0}, "min_count"),
        (TRAIN, {"min_count": 50}, "no id occurs 50 times"),
        ({"x": [1.5, float("inf")], "label": [0, 1]}, {}, "finite"),
    ],
)
def test_bad_input(table, options, message):
    with pytest.raises(ValueError, match=message):
        ready_of(table, **options)


def test_interactions_are_refused():
    rows = Interactions.from_table({"user_id": [1, 2], "item_id": [1, 2]}, label=None, time=None)
    with pytest.raises(ValueError, match=r"prepare_examples.*received Interactions"):
        prepare_examples(rows)


def test_a_column_of_other_values_is_refused():
    with pytest.raises(ValueError, match="city"):
        ready_of(test={**TRAIN, "city": [1, 2, 3, 4, 5, 6]})


def test_windows_are_sequences_scaled_as_one_column():
    table = {"heat": [1.0, 2.5, 4.0, 8.5], "label": [0, 1, 0, 1], "id": ["a", "b", "a", "a"]}
    rows = windows(Examples.from_table(table, group="id"), 2)
    ready = prepare_examples(ExampleSplit(rows, test=rows.take([3])))
    feature = ready.schema.feature("heat")
    assert (feature.kind, feature.shape, feature.of) == ("numeric_sequence", (2,), "heat")
    numbers = [1.0, 2.5, 1.0, 4.0, 4.0, 8.5]
    assert (feature.mean, feature.deviation) == (np.mean(numbers), np.std(numbers))
    nan = np.nan
    expected = [[1.0, nan], [2.5, nan], [1.0, 4.0], [4.0, 8.5]]
    np.testing.assert_array_equal(ready.train["heat"], np.float32(expected))
    np.testing.assert_array_equal(ready.test["heat"], np.float32([[4.0, 8.5]]))
    assert ready.notes == ("'heat' is a window of up to 2 numbers",)
