import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.schema import (
    FIRST_ID,
    PADDING_ID,
    UNKNOWN_ID,
    Bag,
    Categorical,
    Date,
    Hashed,
    IdSequence,
    Numeric,
    NumericSequence,
    Schema,
)

SCHEMA = Schema(
    user=[Categorical("user_id", 10), Numeric("age")],
    item=[Categorical("item_id", 12), Bag("genres", 6, max_length=3)],
    context=[IdSequence("history", of="item_id", max_length=20), Numeric("place", size=2)],
    label="rating",
)


def test_ids_are_padding_unknown_then_real():
    assert (PADDING_ID, UNKNOWN_ID, FIRST_ID) == (0, 1, 2)


def test_roles():
    assert SCHEMA.user_id.name == "user_id"
    assert SCHEMA.item_id.name == "item_id"
    assert [f.name for f in SCHEMA.query] == ["user_id", "age", "history", "place"]
    assert [f.name for f in SCHEMA.features][-2:] == ["item_id", "genres"]
    assert SCHEMA.feature("genres").max_length == 3


def test_shapes_and_dtypes_of_one_example():
    assert {f.name: (f.shape, f.dtype) for f in SCHEMA.features} == {
        "user_id": ((), "int32"),
        "age": ((), "float32"),
        "history": ((20,), "int32"),
        "place": ((2,), "float32"),
        "item_id": ((), "int32"),
        "genres": ((3,), "int32"),
    }


def test_features_answer_for_their_kind():
    ratings = NumericSequence("ratings", of="rating", max_length=4)
    schema = dataclasses.replace(SCHEMA, context=(*SCHEMA.context, ratings))
    answers = {
        name: {f.name for f in schema.features if getattr(f, name)}
        for name in ("has_ids", "is_padded", "is_history")
    }
    assert answers == {
        "has_ids": {"user_id", "history", "item_id", "genres"},
        "is_padded": {"history", "ratings", "genres"},
        "is_history": {"history", "ratings"},
    }
    assert [f.name for f in schema.item_histories] == ["history"]
    assert [f.name for f in schema.number_histories] == ["ratings"]
    assert (SCHEMA.number_histories, Schema(SCHEMA.user, SCHEMA.item).item_histories) == ((), ())


def test_a_sequence_shares_the_ids_of_its_feature():
    assert SCHEMA.num_ids("history") == SCHEMA.num_ids("item_id") == 12
    assert SCHEMA.id_space("history") == "item_id"
    assert SCHEMA.id_space("genres") == "genres"


def test_json_round_trip():
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
    assert json.loads(SCHEMA.to_json())["version"] == 5


names = st.lists(st.text(min_size=1, max_size=9), min_size=4, max_size=4, unique=True)


@given(names, st.integers(3, 2**31 - 1), st.integers(1, 10**6))
def test_json_round_trip_of_any_names_and_sizes(name, num_ids, length):
    schema = Schema(
        Categorical(name[0], num_ids),
        [Categorical(name[1], 3), IdSequence(name[2], of=name[1], max_length=length)],
        label=name[3],
    )
    assert Schema.from_json(schema.to_json()) == schema


def test_is_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCHEMA.label = "other"
    assert len({SCHEMA, Schema.from_json(SCHEMA.to_json())}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("", 5), "non-empty string"),
        (lambda: Categorical("user", 2), "num_ids must be an integer from 3 .*; received 2"),
        (lambda: Categorical("user", 5.0), "received 5.0"),
        (lambda: Categorical("user", True), "received True"),
        (lambda: Categorical("user", 2**31), "from 3 to 2147483647"),
        (lambda: Bag("genres", 5, 0), "max_length must be an integer of at least 1"),
        (lambda: Numeric("age", 0), "size must be an integer of at least 1"),
        (lambda: Numeric("age", mean=float("nan")), "mean must be a finite number; received nan"),
        (lambda: Numeric("age", mean="0"), "mean must be a finite number; received '0'"),
        (lambda: Numeric("age", missing=1), "missing must be True or False; received 1"),
        (lambda: Categorical("x", 3, missing=1), "missing must be True or False; received 1"),
        (
            lambda: NumericSequence("x", of="y", max_length=2, missing=True),
            "missing numbers of a sequence are its padding",
        ),
        (
            lambda: Schema(Categorical("user", 5, missing=True), Categorical("item", 9)),
            "'user' is the user id, which no row may lack",
        ),
        (lambda: Numeric("age", log=1), "log must be True or False; received 1"),
        (lambda: Numeric("age", deviation=0.0), "deviation must be a finite number above 0"),
        (
            lambda: Schema(Categorical("a", 5), Categorical("b", 5), label="t", time="t"),
            r"time another name than the label; received \['t'\]",
        ),
        (lambda: IdSequence("history", "", 5), "of needs a non-empty string"),
        (lambda: Schema("user", Categorical("i", 5)), "received 'user' of type str"),
        (lambda: Schema(), "at least one feature"),
        (lambda: Schema(Numeric("age")), "user needs a Categorical feature"),
        (lambda: Schema(Categorical("u", 5), Numeric("i")), "item needs a Categorical feature"),
        (lambda: Schema(Categorical("a", 5), Categorical("a", 5)), r"received \['a'\] more than"),
        (lambda: Schema(Categorical("a", 5), Categorical("b", 5), label="a"), r"\['a'\] more than"),
        (
            lambda: Schema(Categorical("a", 5), Categorical("b", 5), IdSequence("s", "c", 5)),
            r"of='c' must name a Categorical.*\['a', 'b'\]",
        ),
        (lambda: SCHEMA.feature("hour"), "no feature 'hour'"),
        (lambda: SCHEMA.num_ids("age"), "numeric and has no ids"),
        (lambda: Schema.from_json("{"), "expected JSON text"),
        (lambda: Schema.from_json("[]"), "expected a JSON object"),
        (
            lambda: Schema.from_dict({"version": 1}),
            r"missing \['context', 'item', 'label', 'user'\]",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_newer_version_is_refused_by_number():
    config = SCHEMA.to_dict() | {"version": 7}
    with pytest.raises(
        ValueError, match="reads schema versions 1 to 6; received version 7.*pip install"
    ):
        Schema.from_dict(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vector"}, "one of the kinds"),
        ({"color": "red"}, r"unknown \['color'\]"),
        ({"num_ids": "5"}, "received '5'"),
    ],
)
def test_a_broken_feature_is_refused(change, message):
    config = SCHEMA.to_dict()
    config["user"][0] |= change
    with pytest.raises(ValueError, match=message):
        Schema.from_dict(config)


def test_needs_the_standard_library_alone():
    program = (
        "import sys; before = set(sys.modules); import kerasrec.schema;"
        "heavy = {'numpy', 'tensorflow', 'keras', 'pyarrow'} & (set(sys.modules) - before);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_numeric_sequence_is_a_numeric_with_steps():
    ratings = NumericSequence("ratings", of="rating", max_length=5)
    colours = NumericSequence("colours", 3, of="colour", max_length=5)
    assert (ratings.shape, colours.shape, ratings.dtype) == ((5,), (5, 3), "float32")
    schema = dataclasses.replace(SCHEMA, context=(*SCHEMA.context, ratings, colours))
    assert Schema.from_json(schema.to_json()) == schema
    with pytest.raises(ValueError, match="NumericSequence 'x': max_length .* received 0"):
        NumericSequence("x", of="rating", max_length=0)
    with pytest.raises(ValueError, match="NumericSequence 'x': of needs a non-empty string"):
        NumericSequence("x", of="", max_length=1)
    with pytest.raises(ValueError, match="NumericSequence 'x': size .* received 0"):
        NumericSequence("x", 0, of="rating", max_length=1)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_schema_of_an_older_version_is_read(version):
    new = {"time"} | ({"positive"} if version < 4 else set())
    config = {name: value for name, value in SCHEMA.to_dict().items() if name not in new}
    for feature in (f for role in ("user", "item", "context") for f in config[role]):
        feature.pop("mean", None), feature.pop("deviation", None)  # as they were written then
    assert Schema.from_dict(config | {"version": version}) == SCHEMA
    with pytest.raises(ValueError, match=r"missing \[('positive', )?'time'\]"):
        Schema.from_dict(config | {"version": 5})


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_scaling_and_time_travel(mean, deviation):
    schema = Schema(
        Categorical("a", 5),
        [Categorical("b", 5), Numeric("price", mean=mean, deviation=deviation)],
        NumericSequence("past", of="price", max_length=2, mean=mean, deviation=deviation),
        time="day",
    )
    again = Schema.from_json(schema.to_json())
    assert again == schema and again.time == "day" and again.feature("past").mean == mean


@pytest.mark.parametrize(("log", "version"), [(False, 5), (True, 6)])
def test_the_newest_version_is_written_where_it_is_needed(log, version):
    views = Numeric("views", mean=2.0, log=log)
    schema = Schema(context=[views, NumericSequence("past", of="views", max_length=2, log=log)])
    config = schema.to_dict()
    assert config["version"] == version and ("log" in config["context"][0]) == log
    assert Schema.from_json(schema.to_json()) == schema


def test_missing_values_have_an_id_or_a_number():
    missing = Schema(
        context=[
            Categorical("city", 4, missing=True), Categorical("on", 4), Bag("tags", 5, 3),
            Numeric("age", missing=True), Numeric("place", 2, missing=True), Numeric("heat", 2),
        ]
    )  # fmt: skip
    ids = [f.missing_id for f in missing.features if f.has_ids]
    widths = [f.width for f in missing.features if isinstance(f, Numeric)]
    assert (ids, widths) == ([0, 1, 0], [2, 3, 2])
    assert missing.to_dict()["version"] == 6 and Schema.from_json(missing.to_json()) == missing
    assert NumericSequence("past", 2, of="age", max_length=3).width == 6


def test_other_labels_are_carried():
    features = [Numeric("heat"), Categorical("city", 4)]
    schema = Schema(context=features, label="click", other_labels=["buy", "stay"])
    config = schema.to_dict()
    assert (config["version"], config["other_labels"]) == (6, ["buy", "stay"])
    assert Schema.from_json(schema.to_json()) == schema
    assert schema.with_features(context=[Numeric("x")]).other_labels == ("buy", "stay")
    assert Schema.from_dict({**config, "other_labels": []}).to_dict()["version"] == 5
    for wrong in (["heat"], ["click"], ["buy", "buy"]):
        with pytest.raises(ValueError, match="need a unique name"):
            Schema(context=features, label="click", other_labels=wrong)
    with pytest.raises(ValueError, match="and the time another name"):
        Schema(context=features, other_labels=["t"], time="t")
    with pytest.raises(ValueError, match=r"Write other_labels=\('buy',\)"):
        Schema(context=features, other_labels="buy")
    with pytest.raises(ValueError, match="other_labels needs a non-empty string"):
        Schema(context=features, other_labels=[""])


def test_a_date_is_written_and_read():
    schema = Schema(context=[Date("when", mean=474000.0, deviation=10.5, missing=True)])
    config = schema.to_dict()
    assert (config["version"], config["context"][0]["kind"]) == (6, "date")
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema(context=[Date("when")]).to_dict()["version"] == 6
    hashed = Schema(context=[Hashed("device", 66, 2, fingerprint="a" * 32)])
    assert Schema.from_json(hashed.to_json()) == hashed and hashed.to_dict()["version"] == 6
    assert hashed.features[0].raw_shape == () and hashed.features[0].shape == (2,)
    when = schema.features[0]
    assert (when.width, when.shape, when.raw_dtype) == (1 + 24 + 7 + 12 + 1, (), "int64")
    with pytest.raises(ValueError, match="Date 'when': a date is a single number"):
        Date("when", log=True)
    with pytest.raises(ValueError, match="Date 'when': a date is a single number"):
        Date("when", 2)


@given(st.floats(-50, 50), st.floats(0.01, 5), st.floats(-3, 3), st.booleans())
def test_raw_numbers_are_scaled_back(mean, deviation, scaled, log):
    feature = Numeric("x", mean=mean, deviation=deviation, log=log)
    raw = feature.raw(scaled)
    number = math.copysign(math.log1p(abs(raw)), raw) if log else raw
    assert (number - mean) / deviation == pytest.approx(scaled, abs=1e-6)
    assert math.isfinite(np.float32(Numeric("x", mean=1e9, log=True).raw(1.0)))


def test_a_side_may_be_empty_and_its_id_is_asked_for_by_name():
    clicks = Schema(context=[Numeric("hour"), Categorical("device", 4)], label="click")
    assert Schema.from_json(clicks.to_json()) == clicks
    assert (clicks.item_histories, clicks.item_history) == ((), None)
    assert clicks.only(["hour"]).features == (Numeric("hour"),)
    with pytest.raises(ValueError, match=r"no user id.*\['hour', 'device'\].*Add Categorical"):
        clicks.user_id  # noqa: B018
    with pytest.raises(ValueError, match="no item id"):
        clicks.item_id  # noqa: B018


def test_features_are_added_and_left_out():
    assert [f.name for f in SCHEMA.only().features] == ["user_id", "item_id"]
    assert [f.name for f in SCHEMA.only(["history"]).features] == ["user_id", "history", "item_id"]
    assert SCHEMA.only(f.name for f in SCHEMA.features) == SCHEMA
    with pytest.raises(ValueError, match="no feature 'hour'"):
        SCHEMA.only(["hour"])
    longer = SCHEMA.with_features(user=[Numeric("height")], context=[Numeric("hour")])
    assert [f.name for f in longer.query][2:] == ["height", "history", "place", "hour"]
    assert longer.only(f.name for f in SCHEMA.features) == SCHEMA
    with pytest.raises(ValueError, match=r"received \['age'\] more than once"):
        SCHEMA.with_features(item=[Numeric("age")])
    assert SCHEMA.item_history.name == "history"


@given(st.floats(-1e6, 1e6), st.sampled_from([">", ">=", " >= "]), st.lists(st.floats(-1e6, 1e6)))
def test_positives_are_above_the_threshold(threshold, sign, labels):
    schema = Schema(Categorical("a", 5), Categorical("b", 5), positive=f"{sign}{threshold!r}")
    expected = [x >= threshold if "=" in sign else x > threshold for x in labels]
    assert [schema.is_positive(x) for x in labels] == expected
    assert schema.is_positive(np.array(labels)).tolist() == expected
    assert Schema.from_json(schema.to_json()) == schema
    assert schema != SCHEMA


def test_labels_above_0_are_positives_by_default():
    assert SCHEMA.is_positive(np.array([-1, 0, 1, 5])).tolist() == [False, False, True, True]


@pytest.mark.parametrize("rule", ["4", 4, None, "", ">", ">=", ">x", "<3", "=4", ">nan", ">=inf"])
def test_a_rule_that_is_no_comparison(rule):
    with pytest.raises(ValueError, match="positive=.*: expected '>' or '>=' and a number"):
        Schema(Categorical("a", 5), Categorical("b", 5), positive=rule)


@given(st.none() | st.text(min_size=1), st.none() | st.text(min_size=1))
def test_fingerprints_travel_and_differ_by_name(one, other):
    def schema(of_item, of_tags):
        return Schema(
            user=Categorical("user", 4),
            item=(
                Categorical("item", 5, fingerprint=of_item),
                Bag("tags", 6, 2, fingerprint=of_tags),
            ),
        )

    ours = schema(one, other)
    again = Schema.from_json(ours.to_json())
    assert again == ours and again.fingerprints == ours.fingerprints
    assert ("fingerprint" in ours.to_json()) == (one is not None or other is not None)
    ours.check_fingerprints({"user": "anything", **ours.fingerprints}, owner="x")
    for name, value in ours.fingerprints.items():
        with pytest.raises(ValueError, match=rf"^x: other vocabularies of \['{name}'\] than the"):
            ours.check_fingerprints({**ours.fingerprints, name: value + "!"}, owner="x")


@pytest.mark.parametrize("value", ["", 7])
def test_a_fingerprint_is_a_text(value):
    with pytest.raises(ValueError, match="'x': fingerprint must be that of a Vocabulary"):
        Categorical("x", 5, fingerprint=value)
    with pytest.raises(ValueError, match="'x': fingerprint must be that of a Vocabulary"):
        Bag("x", 5, 2, fingerprint=value)
