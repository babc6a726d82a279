import datetime

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers import FeatureEmbedding
from kerasrec.layers.feature_embedding import date_parts
from kerasrec.schema import Date, Numeric, NumericSequence, Schema
from kerasrec.testing import random_inputs, tiny_schema

SCHEMA = tiny_schema(features=True)


def test_one_vector_by_hand():
    layer = FeatureEmbedding(SCHEMA, embedding_dim=1)
    layer.build()
    for name in ("item_id", "genres"):
        table = layer.tables[name]
        table.embeddings.assign(np.arange(table.input_dim, dtype="float32")[:, None])
    inputs = {
        "age": np.array([33.0], "float32"),
        "genres": np.array([[3, 4, 0]]),  # mean of rows 3 and 4
        "history": np.array([[5, 7, 9, 0]]),  # mean of item rows 5, 7 and 9
        "picture": np.array([[0.25, -1.0]], "float32"),
        "item_id": np.array([8]),
    }
    names = ["item_id", "age", "genres", "history", "picture"]
    vector = np.asarray(layer(inputs, names=names))
    np.testing.assert_allclose(vector, [[8.0, 33.0, 3.5, 7.0, 0.25, -1.0]])


def test_numbers_are_scaled_and_missing_ones_are_the_mean():
    scale = {"mean": 30.0, "deviation": 5.0}
    steps = NumericSequence("steps", of="x", max_length=3, **scale)
    schema = SCHEMA.only().with_features(
        user=[Numeric("age", **scale), steps], item=[Numeric("picture", 2, mean=1.0, deviation=0.5)]
    )
    none, names = np.nan, ["age", "steps", "picture"]
    inputs = {
        "age": np.array([40.0, none]),
        "steps": np.array([[20.0, none, 35.0], [none, none, none]]),
        "picture": np.array([[1.5, none], [0.0, 1.0]]),
    }
    layer = FeatureEmbedding(schema, embedding_dim=4)
    expected = [[2, -2, 1, 0, 1, 0], [0, 0, 0, 0, -2, 0]]
    np.testing.assert_array_equal(layer(inputs, names=names), expected)
    # 2,001 and 2,002 are one number in bfloat16.
    coarse = FeatureEmbedding(
        schema.only().with_features(user=[Numeric("year", mean=2000.0, deviation=1.0)]),
        embedding_dim=4,
        dtype="mixed_bfloat16",
    )
    years = coarse({"year": np.array([2001.0, 2002.0])}, names=["year"])
    assert np.asarray(years, np.float32).tolist() == [[1.0], [2.0]]


def test_missing_numbers_are_told_beside_the_mean():
    schema = Schema(
        context=[
            Numeric("age", mean=30.0, deviation=5.0, missing=True),
            Numeric("place", 2, missing=True),
        ]
    )
    layer = FeatureEmbedding(schema, embedding_dim=4)
    none, names = np.nan, ["age", "place"]
    inputs = {
        "age": np.array([40.0, none]),
        "place": np.array([[1.0, none], [none, none]]),
    }
    expected = [[2, 0, 1, 0, 0.5], [0, 1, 0, 0, 1]]
    np.testing.assert_array_equal(layer(inputs, names=names), expected)
    assert layer.width(names) == 5
    of_candidates = {name: np.stack([column] * 3, 1) for name, column in inputs.items()}
    np.testing.assert_array_equal(layer(of_candidates, names=names)[:, 1], expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.datetimes(datetime.datetime(200, 1, 1), datetime.datetime(3700, 1, 1))))
def test_parts_of_dates_are_those_of_the_calendar(moments):
    moments = [datetime.datetime(2024, 2, 29, 23, 59), *moments]
    epoch = datetime.datetime(1970, 1, 1)
    hours = np.float32([(m - epoch) // datetime.timedelta(hours=1) for m in moments])
    parts = date_parts(np.append(hours, [np.nan, 1e30, -np.inf]).astype("float32"))
    found = [np.argmax(part, axis=-1)[: len(moments)].tolist() for part in parts]
    expected = [(m.hour, m.weekday(), m.month - 1) for m in moments]
    assert list(zip(*found, strict=True)) == expected
    for part, size in zip(parts, (24, 7, 12), strict=True):
        sums = np.sum(part, axis=-1)
        assert part.shape[-1] == size and sums[-3] == 0 and (np.delete(sums, -3) == 1).all()


def test_a_date_by_hand():
    schema = Schema(context=[Date("when", mean=24.0, deviation=12.0, missing=True)])
    layer = FeatureEmbedding(schema, embedding_dim=4)
    found = np.asarray(layer({"when": np.array([30.0, np.nan])}, names=["when"]))
    # 1970-01-02 06:00, a Friday in January.
    expected = np.zeros((2, 1 + 24 + 7 + 12 + 1))
    expected[0, [0, 1 + 6, 1 + 24 + 4, 1 + 24 + 7]] = [0.5, 1, 1, 1]
    expected[1, -1] = 1
    np.testing.assert_array_equal(found, expected)
    assert layer.width(["when"]) == 45


def test_empty_bags_are_zeros():
    layer = FeatureEmbedding(SCHEMA, embedding_dim=2)
    vector = layer({"genres": np.zeros((1, 3), "int32")}, names=["genres"])
    np.testing.assert_array_equal(np.asarray(vector), [[0.0, 0.0]])


def test_candidates_keep_their_axis():
    layer = FeatureEmbedding(SCHEMA, embedding_dim=4)
    inputs = random_inputs(SCHEMA, 3, candidates=5)
    assert layer(inputs, names=["item_id", "genres", "picture"]).shape == (3, 5, 4 + 4 + 2)


def test_a_sequence_has_no_table_of_its_own():
    layer = FeatureEmbedding(SCHEMA, embedding_dim=4)
    assert set(layer.tables) == {"user_id", "item_id", "genres", "device"}


def test_config_round_trip():
    layer = FeatureEmbedding(SCHEMA, embedding_dim=4, stddev=0.2, l2=0.1, name="here")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    assert again.schema == SCHEMA


def test_tables_of_what_is_asked_for_alone_and_numbers_of_steps():
    steps = NumericSequence("steps", 2, of="x", max_length=3)
    schema = tiny_schema(features=True)
    schema = Schema((*schema.user, steps), schema.item, schema.context)
    layer = FeatureEmbedding(schema, embedding_dim=4, only=["age", "history", "steps", "genres"])
    assert sorted(layer.tables) == ["genres", "item_id"]
    again = FeatureEmbedding.from_config(layer.get_config())
    assert sorted(again.tables) == ["genres", "item_id"]
    values = np.arange(12, dtype="float32").reshape(2, 3, 2)
    found = layer({"age": np.ones(2), "steps": values}, names=["age", "steps"])
    assert np.asarray(found).tolist() == [[1, *range(6)], [1, *range(6, 12)]]


def test_of_histories_the_newest_count_wherever_padding_stands():
    steps = NumericSequence("steps", of="x", max_length=3)
    schema = tiny_schema(features=True)
    schema = Schema((*schema.user, steps), schema.item, schema.context)
    layer = FeatureEmbedding(schema, embedding_dim=1)
    layer.build()
    table = layer.tables["item_id"]
    table.embeddings.assign(np.arange(table.input_dim, dtype="float32")[:, None])
    none = np.nan
    inputs = {
        "history": np.array([[17, 5, 0, 7, 9, 0, 11], [0, 0, 0, 0, 0, 0, 6]]),  # the newest 4
        "steps": np.array([[8, none, 0, 2, 3], [none, none, none, none, 4]], "float32"),
    }
    found = np.asarray(layer(inputs, names=["history", "steps"]))
    np.testing.assert_allclose(found, [[(5 + 7 + 9 + 11) / 4, 0, 2, 3], [6, 4, 0, 0]])
