import keras
import numpy as np
import pytest

from kerasrec.layers.fields.field_embedding import FieldEmbedding
from kerasrec.schema import Categorical, Numeric, NumericSequence, Schema
from kerasrec.testing import random_inputs, tiny_schema

SCHEMA = tiny_schema(features=True)
NONE = np.nan


def counted(schema=SCHEMA, **options):
    """A layer of one number a field, with the id as its row and 1, 2, ... as vectors."""
    layer = FieldEmbedding(schema, embedding_dim=1, **options)
    layer.build()
    for table in layer.tables.values():
        table.embeddings.assign(np.arange(table.input_dim, dtype="float32")[:, None])
    for vectors in layer.vectors.values():
        vectors.assign(1 + np.arange(vectors.shape[0], dtype="float32")[:, None])
    return layer


def test_one_table_row_by_hand():
    inputs = {
        "user_id": np.array([4]),
        "age": np.array([33.0], "float32"),
        "device": np.array([1]),  # unknown, which has a row
        "history": np.array([[5, 7, 9, 0]]),  # mean of item rows 5, 7 and 9
        "item_id": np.array([8]),
        "genres": np.array([[3, 0, 4]]),
        "picture": np.array([[0.25, -1.0]], "float32"),  # 0.25 * 1 - 1.0 * 2
    }
    fields = np.asarray(counted()(inputs))
    np.testing.assert_allclose(fields, [[[4], [33], [1], [7], [8], [3.5], [-1.75]]])


def test_numbers_are_scaled_and_missing_ones_are_the_mean():
    scale = {"mean": 30.0, "deviation": 5.0}
    steps = NumericSequence("steps", of="x", max_length=3, **scale)
    schema = Schema(context=[Numeric("age", **scale), steps])
    inputs = {
        "age": np.array([40.0, NONE]),
        "steps": np.array([[90.0, 20.0, NONE, 35.0, 30.0], [NONE, NONE, NONE, NONE, 25.0]]),
    }
    fields = np.asarray(counted(schema)(inputs))[..., 0]
    # The newest three steps: (-2, 1, 0), and (-1) alone.
    np.testing.assert_allclose(fields, [[2, -2 * 1 + 1 * 2 + 0 * 3], [0, -1]])


def test_a_missing_number_has_a_vector_of_its_own():
    schema = Schema(context=[Numeric("age", mean=30.0, deviation=5.0, missing=True)])
    fields = np.asarray(counted(schema)({"age": np.array([40.0, NONE])}))[..., 0]
    np.testing.assert_array_equal(fields, [[2 * 1 + 0 * 2], [0 * 1 + 1 * 2]])


def test_empty_bags_are_zeros():
    layer = FieldEmbedding(SCHEMA, embedding_dim=2, only=["genres"])
    fields = layer({"genres": np.zeros((1, 3), "int32")})
    np.testing.assert_array_equal(np.asarray(fields), [[[0.0, 0.0]]])


@pytest.mark.parametrize(
    ("only", "fields"), [(None, 7), (["user_id", "age"], 2), (["item_id", "picture"], 2)]
)
def test_fields_of_the_query_get_the_axis_of_candidates(only, fields):
    layer = FieldEmbedding(SCHEMA, embedding_dim=4, only=only)
    shape = (3, fields, 4) if only and "age" in only else (3, 5, fields, 4)
    assert layer(random_inputs(SCHEMA, 3, candidates=5)).shape == shape


def test_candidates_are_embedded_as_pairs_are():
    layer = FieldEmbedding(SCHEMA, embedding_dim=4)
    wide = random_inputs(SCHEMA, 3, candidates=5)
    items = {feature.name for feature in SCHEMA.item}
    pairs = {n: v[:, 2] if n in items else v for n, v in wide.items()}
    np.testing.assert_allclose(layer(wide)[:, 2], layer(pairs), rtol=1e-6)


def test_only_tables_and_vectors_of_what_is_asked_for():
    layer = FieldEmbedding(SCHEMA, embedding_dim=4, only=["history", "picture"])
    layer.build()
    assert sorted(layer.tables) == ["item_id"] and sorted(layer.vectors) == ["picture"]
    assert layer.count_params() == 19 * 4 + 2 * 4


def test_the_penalty_is_the_mean_of_what_a_batch_looks_up():
    schema = Schema(context=[Categorical("country", 5), Numeric("age")])
    layer = counted(schema, l2=0.5)
    layer({"country": np.array([2, 4]), "age": np.array([1.0, 7.0])})
    country, age = sorted((float(loss) for loss in layer.losses), reverse=True)
    assert (country, age) == (0.5 * (4 + 16) / 2, 0.5 * 1)


def test_config_round_trip():
    layer = FieldEmbedding(SCHEMA, embedding_dim=4, stddev=0.2, l2=0.1, only=["age"], name="here")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    assert again.schema == SCHEMA
