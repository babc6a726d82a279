import numpy as np
import pandas as pd
import pytest

from kerasrec.data import (
    Buckets,
    Examples,
    ExampleSplit,
    HashBuckets,
    Interactions,
    prepare_examples,
    windows,
)
from kerasrec.layers.feature_embedding import feature_numbers
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
    # 1 is unknown: Paris was never seen. A missing city is 0, since training rows lack some; no
    # training row lacks `on`, so that a missing one is unknown as well.
    assert ready.test["city"].tolist() == [3, 0, 1]
    assert ready.test["on"].tolist() == [3, 2, 1]
    assert ready.test["big"].tolist() == [3, 1, 1]
    assert ready.test["tags"].tolist() == [[4, 2], [0, 0], [0, 0]]  # as wide as the widest row
    assert ready.train["city"].tolist() == [2, 3, 2, 0, 3, 2]


def test_a_frame_with_gaps_equals_a_table():
    frame = pd.DataFrame(TRAIN)
    one, other = prepare_examples(Examples.from_table(frame)), ready_of()
    assert one.schema == other.schema
    for name, values in other.train.items():
        np.testing.assert_array_equal(one.train[name], values)


def test_missing_values_are_told_from_others_where_training_rows_have_some():
    features = {f.name: f for f in ready_of(features=["age", "city", "on", "big"]).schema.features}
    assert {name: f.missing for name, f in features.items()} == {
        "age": True, "city": True, "on": False, "big": False,
    }  # fmt: skip
    assert "'age' is numeric: 3 numbers from 20.5 to 44, missing in 1 rows" in ready_of().notes
    assert "'on' is categorical: 2 values" in ready_of().notes
    # Too few rows lack them.
    rare = ready_of(min_count=2, features=["age", "city"])
    assert [feature.missing for feature in rare.schema.features] == [False, False]
    assert rare.train["city"].tolist() == [2, 3, 2, 1, 3, 2]
    chosen = ready_of(missing_values="mean", features=["age", "city"])
    assert chosen.schema == rare.schema and chosen.schema.to_dict()["version"] == 5
    np.testing.assert_array_equal(chosen.train["city"], rare.train["city"])
    buckets = ready_of(features={"age": "buckets"})
    assert not buckets.schema.feature("age").missing and buckets.train["age"][2] == 1


def test_kinds_are_chosen():
    ready = ready_of(features={"age": "buckets", "city": "categorical"})
    assert isinstance(ready.vocabularies["age"], Buckets)
    assert [feature.name for feature in ready.schema.features] == ["age", "city"]
    assert [f.name for f in ready_of(features=["on"]).schema.features] == ["on"]


def test_open_ended_ids_are_hashed():
    table = {
        "device": [f"d{n}" if n % 5 else None for n in range(100)],
        "account_id": [n // 2 * 2**33 for n in range(100)],
        "title": [f"t{n % 40}" for n in range(100)],
        "label": [0, 1] * 50,
    }
    noted = dict(note.split(" is ", 1) for note in ready_of(table).notes)
    hint = "the kind 'hashed' would use it"
    assert noted["'device'"] == (
        f"left out: almost all values differ (80 values in 80 rows); {hint}"
    )
    assert noted["'account_id'"] == "categorical: 50 values"
    assert noted["'title'"] == "categorical: 40 values"
    table["account_id"] = [*table["account_id"][:80], *range(20)]
    noted = dict(note.split(" is ", 1) for note in ready_of(table).notes)
    assert noted["'account_id'"] == f"categorical: 59 values (59 values in 100 rows); {hint}"
    chosen = {"device": "hashed", "account_id": "hashed:256:3", "title": "categorical"}
    ready = ready_of(table, test={**table, "device": ["new"] * 100}, features=chosen)
    device, account, title = ready.schema.features
    assert (device.kind, device.shape, account.shape, title.kind) == (
        "hashed", (2,), (3,), "categorical",
    )  # fmt: skip
    hashes = ready.vocabularies["device"]
    assert (hashes.num_buckets, ready.vocabularies["account_id"].num_buckets) == (1024, 256)
    np.testing.assert_array_equal(ready.train["device"], hashes.encode(table["device"]))
    assert ready.train["device"][0].tolist() == [0, 0]
    assert ready.test["device"].tolist() == [hashes.encode(["new"])[0].tolist()] * 100
    assert ready.notes[0] == "'device' is hashed to 2 of 1,024 rows: almost all values differ"
    again = ready_of(table, vocabularies=ready.vocabularies, schema=ready.schema)
    np.testing.assert_array_equal(again.train["account_id"], ready.train["account_id"])
    # Hashes that are given are used, whatever the column looks like.
    given = ready_of(table, vocabularies={"title": HashBuckets(8, 1, name="title")})
    assert given.schema.feature("title").num_ids == 10


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
        (TRAIN, {"features": {"city": "hashed:x"}}, "'hashed:4096:2'; received 'hashed:x'"),
        (TRAIN, {"features": {"city": "hashed:1"}}, "num_buckets must be"),
        (TRAIN, {"features": {"city": "hash"}}, r"features\['city'\] must be one of"),
        (TRAIN, {"features": {"age": "hashed"}}, "'age' cannot be read as categorical"),
        (TRAIN, {"min_count": 0}, "min_count"),
        (TRAIN, {"missing_values": "zero"}, "missing_values must be"),
        (TRAIN, {"scaling": "max"}, "scaling must be"),
        (TRAIN, {"scaling": "minmax", "missing_values": "mean"}, "would not stand for the mean"),
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


VIEWS = np.exp(np.random.default_rng(0).normal(2, 2, 80)).round()
COUNTS = {"views": VIEWS.tolist(), "heat": list(range(80)), "label": [0, 1] * 40}


def test_numbers_with_a_heavy_tail_are_scaled_on_a_logarithm():
    ready = ready_of(COUNTS, test={"views": [None, -3], "heat": [1, 2], "label": [0, 1]})
    views, heat = ready.schema.features
    assert views.log and not heat.log
    assert views.mean == pytest.approx(np.log1p(VIEWS).mean())
    np.testing.assert_array_equal(ready.test["views"], np.float32([np.nan, -3]))  # raw
    assert ready.notes[0].startswith("'views' is numeric on a logarithm: ")
    assert ready.notes[1].startswith("'heat' is numeric: ")
    declared = Examples.from_table(COUNTS, kinds={"views": "numeric"})
    assert prepare_examples(declared).schema == ready.schema


@pytest.mark.parametrize(("kind", "log"), [("numeric", False), ("log", True)])
def test_the_scale_is_chosen(kind, log):
    ready = ready_of(COUNTS, features={"views": kind, "heat": kind})
    assert [feature.log for feature in ready.schema.features] == [log, log]
    rows = windows(Examples.from_table(COUNTS), 2)
    chosen = prepare_examples(rows, features={"views": kind})
    assert chosen.schema.feature("views").log == log
    assert prepare_examples(rows).schema.feature("views").log


def test_numbers_are_scaled_from_0_to_1():
    table = {**COUNTS, "day": ["2024-01-01", "2024-01-11"] * 40, "two": [[1.5, 3.5]] * 80}
    ready = ready_of({**table, "gaps": [None, 2, *range(70, 148)]}, scaling="minmax")
    features = {feature.name: feature for feature in ready.schema.features}
    views, heat = features["views"], features["heat"]
    assert views.log and not heat.log and (heat.mean, heat.deviation) == (0, 79)
    logarithms = np.log1p(VIEWS)
    assert (views.mean, views.deviation) == (logarithms.min(), np.ptp(logarithms))
    assert (features["day"].deviation, features["two"].mean) == (240, 1.5)
    assert ready.train["heat"].max() == 79  # raw
    # A missing number is told, and stands for the lowest one.
    gaps = features["gaps"]
    assert gaps.missing and (gaps.mean, gaps.deviation) == (2, 145)
    read = np.asarray(feature_numbers(np.float32([np.nan, 2, 147]), gaps, "float32"))
    assert read.tolist() == [[0, 1], [0, 0], [1, 0]]
    notes = dict(note.split(" is ", 1) for note in ready.notes)
    assert notes["'views'"].startswith("numeric on a logarithm, scaled from 0 to 1: ")
    assert notes["'heat'"] == "numeric, scaled from 0 to 1: 80 numbers from 0 to 79"
    rows = windows(Examples.from_table(COUNTS), 2)
    ready = prepare_examples(rows, scaling="minmax", features=["heat"])
    assert (ready.schema.features[0].mean, ready.schema.features[0].deviation) == (0, 79)
    assert ready.notes == ("'heat' is a window of up to 2 numbers, scaled from 0 to 1",)


def test_a_window_is_no_category():
    rows = windows(Examples.from_table(COUNTS), 2)
    with pytest.raises(ValueError, match=r"features\['views'\] must be 'numeric' or 'log', rec"):
        prepare_examples(rows, features={"views": "categorical"})
    with pytest.raises(ValueError, match="cannot be read as numeric"):
        ready_of(features={"city": "log"})


LABELS = {
    "heat": [1.5, 2.5, 3.5, 4.5],
    "click": [1, 0, 1, 0],
    "buy": [0.5, 0, 2.5, 0],
    "label": [0, 1, 2, 3],
}


def test_several_labels_are_carried_and_the_first_is_learned():
    rows = Examples.from_table(LABELS, label=["click", "buy"])
    assert (rows.label, rows.other_labels, rows.features) == ("click", ("buy",), ("heat", "label"))
    split = ExampleSplit(rows, test=rows.take([2, 0]))
    ready = prepare_examples(split)
    assert (ready.schema.label, ready.schema.other_labels) == ("click", ("buy",))
    assert ready.train["buy"].tolist() == [0.5, 0, 2.5, 0] and ready.train["buy"].dtype == "float32"
    assert ready.test["buy"].tolist() == [2.5, 0.5]
    assert "buy" in ready.fingerprint()["train"]["sha256"]
    assert prepare_examples(windows(rows, 2)).train["buy"].tolist() == [0.5, 0, 2.5, 0]
    one = Examples.from_table(LABELS, label="click", features=["heat", "label"])
    with pytest.raises(ValueError, match="test needs the label and the features of train"):
        ExampleSplit(rows, test=one)


@pytest.mark.parametrize(
    ("label", "table", "message"),
    [
        ([], {}, "needs the name of at least one column"),
        (["click", "click"], {}, r"received \['click'\] twice"),
        (["click", "none"], {}, r"expected a column 'none' \(label\)"),
        (["click", ""], {}, "label needs a non-empty string"),
        (["click", "buy"], {"buy": [1, None, 1, 1]}, "the columns lack {'buy': 1}"),
        (["click", "buy"], {"buy": [1, float("inf"), 1, 1]}, r"'buy' \(label\): expected finite"),
        (["click", "buy"], {"buy": ["a", "b", "c", "d"]}, r"'buy' \(label\)"),
    ],
)
def test_bad_labels(label, table, message):
    with pytest.raises(ValueError, match=message):
        Examples.from_table({**LABELS, **table}, label=label)


@pytest.mark.parametrize(
    ("labels", "yes"), [([1, 2], 2), ([-2, -1], -1), ([0.1, 0.2], 0.2), ([0, 1], 1), ([-1, 1], 1)]
)
def test_of_two_labels_the_higher_one_is_a_yes(labels, yes):
    ready = ready_of({**TRAIN, "label": labels * 3})
    marked = ready.positives(ready.train)
    assert marked.tolist() == [float(label == yes) for label in labels * 3]
    # A rule that is given stands, even if it marks all.
    if labels == [1, 2]:
        given = ready_of({**TRAIN, "label": labels * 3}, positive=">0.5")
        assert given.positives(given.train).all()


def test_vectors_of_another_length_are_refused():
    train = {"vector": [[0.5, 1.5, 2.5]] * 3 + [[1.5, 0.5, 2.5]] * 3, "label": [0, 1] * 3}
    for numbers in ([0.5, 1.5], [0.5, 1.5, 2.5, 3.5]):
        test = {"vector": [numbers] * 2, "label": [0, 1]}
        with pytest.raises(
            ValueError, match="'vector': expected vectors of 3 numbers, .* received"
        ):
            ready_of(train, test)
    assert ready_of(train, {"vector": [[1.5, 2.5, 3.5]], "label": [0]}).test["vector"].tolist() == [
        [1.5, 2.5, 3.5]
    ]


def test_a_list_of_one_number_is_a_vector():
    rows = {"vector": [[0.5], [1.25], [2.5], [0.5]], "label": [0, 1, 0, 1]}
    assert ready_of(rows).train["vector"].ravel().tolist() == [0.5, 1.25, 2.5, 0.5]


def test_a_bag_ends_with_a_bar_in_any_number_of_rows():
    train = {"genres": ["drama|", "war|drama", "war", "drama|war"] * 6, "label": [0, 1] * 12}
    ready = ready_of(train, {"genres": ["drama|"], "label": [1]})
    drama = ready.vocabularies["genres"].encode(["drama"])[0]
    assert ready.test["genres"][0].tolist()[0] == drama and (ready.test["genres"][0][1:] == 0).all()


@pytest.mark.parametrize("kind", ["categorical", "hashed"])
def test_integers_of_more_digits_than_a_float_holds(kind):
    first = 2**60
    rows = {"device": [first + at % 20 for at in range(40)], "label": [0, 1] * 20}
    ready = ready_of(rows, features={"device": kind})
    ids = ready.train["device"].reshape(40, -1)
    assert len(np.unique(ids, axis=0)) == 20 and (ids[:20] == ids[20:]).all()
    # Neighbours are one float: as numbers they would be mixed up.
    assert isinstance(ready_of(rows).schema.features[0], Categorical)
    rows["device"] = [-first - at for at in range(40)]
    with pytest.raises(ValueError, match="no column carries|no information|almost all"):
        ready_of(rows)
    rows["device"] = np.array([2**63 + at % 4 for at in range(40)], "uint64")
    with pytest.raises(ValueError, match="'device': expected integers below 2\\^63"):
        ready_of(rows)
