"""A kit is worth what it catches: each broken model here must be caught by its check."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasrec.models import LogisticRegression, MatrixFactorization
from kerasrec.models.base import align
from kerasrec.schema import Categorical, Schema
from kerasrec.testing import ModelCase, random_inputs, tiny_schema
from kerasrec.testing import contract as kit


def case_of(model, **kwargs):
    return ModelCase(model, num_params=13 * 5 + 19 * 5 + 1, kwargs={"embedding_dim": 4}, **kwargs)


def caught(check, model, message):
    with pytest.raises(AssertionError, match=message):
        check(case_of(model))


@keras.saving.register_keras_serializable("test")
class Sound(MatrixFactorization):
    """Nothing wrong."""


def test_a_sound_model_passes():
    for check in (kit.check_arguments, kit.check_build, kit.check_batch, kit.check_retrieval):
        check(case_of(Sound))


class Forgets(MatrixFactorization):
    def __init__(self, schema, *, embedding_dim=4, name=None, dtype=None):
        super().__init__(schema, embedding_dim=embedding_dim, name=name, dtype=dtype)
        self.embedding_dim = embedding_dim + 1


def test_changed_argument():
    caught(kit.check_arguments, Forgets, "keeps embedding_dim=4")


class LosesConfig(MatrixFactorization):
    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "embedding_dim"}


def test_incomplete_config():
    caught(kit.check_config, LosesConfig, "same weight shapes|config round trip")


def test_wrong_parameter_count():
    with pytest.raises(AssertionError, match="7 parameters, not 161"):
        kit.check_build(ModelCase(Sound, num_params=7, kwargs={"embedding_dim": 4}))


class LooksAtNeighbours(MatrixFactorization):
    def call(self, inputs, training=False):
        scores = super().call(inputs)
        return scores - ops.mean(scores, axis=0)


def test_score_that_depends_on_the_batch():
    caught(kit.check_batch, LooksAtNeighbours, "a row alone")


class HalfPrecision(MatrixFactorization):
    def call(self, inputs, training=False):
        return ops.cast(super().call(inputs), "float16")


def test_scores_of_another_type():
    caught(kit.check_call, HalfPrecision, "float32 scores")


class Unknown(MatrixFactorization):
    def call(self, inputs, training=False):
        return super().call(inputs) / ops.cast(ops.not_equal(inputs["user_id"], 1), "float32")


def test_unknown_id_that_scores_nan():
    caught(kit.check_unknown_ids, Unknown, "finite with unknown")


class Towers(MatrixFactorization):
    """Scores by its two embeddings alone."""

    def call(self, inputs, training=False):
        items = self.item_embedding(inputs)
        return ops.sum(align(self.query_embedding(inputs), items) * items, axis=-1)


class Idle(Towers):
    def query_embedding(self, inputs):
        return ops.stop_gradient(super().query_embedding(inputs))


def test_weight_without_gradient():
    caught(kit.check_gradients, Idle, "has a gradient")


class OtherTower(MatrixFactorization):
    def call(self, inputs, training=False):
        return super().call(inputs) + 1.0


def test_towers_that_disagree_with_call():
    caught(kit.check_retrieval, OtherTower, "dot product = call")


class BlindToUsers(Towers):
    def query_embedding(self, inputs):
        rows = super().query_embedding(inputs)
        return ops.concatenate([0.0 * rows[..., :-2], rows[..., -2:]], axis=-1)


def test_model_that_cannot_learn_tastes():
    caught(kit.check_learns, BlindToUsers, "ranks the withheld item first")


class SumsOverRows(MatrixFactorization):
    compute_loss = keras.Model.compute_loss  # what stock Keras does with rank-1 scores
    compute_metrics = keras.Model.compute_metrics


def test_loss_that_is_not_divided_by_replicas():
    caught(kit.check_two_replicas, SumsOverRows, "two replicas")


def test_loss_that_cannot_be_weighted():
    with pytest.raises(ValueError, match="rank"):  # TensorFlow's: Keras weights a scalar by rows
        kit.check_weights(case_of(SumsOverRows))


def test_case_must_be_rectangular():
    square = Schema(Categorical("u", 12), Categorical("i", 12))
    with pytest.raises(ValueError, match="not as many users as items"):
        ModelCase(Sound, num_params=1, schema=square)


def test_random_inputs_are_valid_and_end_in_padding():
    schema = tiny_schema(features=True)
    inputs = random_inputs(schema, 50, candidates=4)
    assert {n: v.shape for n, v in inputs.items()} == {
        "user_id": (50,),
        "age": (50,),
        "device": (50,),
        "history": (50, 4),
        "item_id": (50, 4),
        "genres": (50, 4, 3),
        "picture": (50, 4, 2),
    }
    real = inputs["history"] != 0
    assert (np.diff(real.astype(int), axis=1) <= 0).all()
    assert not real.all()
    again = random_inputs(schema, 50, candidates=4)
    assert all(np.array_equal(inputs[n], again[n]) for n in inputs)


def table_of(model):
    return ModelCase(model, num_params=21, schema=tiny_schema(sides=False))


def test_a_table_without_users_and_items_is_checked_without_candidates():
    case = table_of(LogisticRegression)
    assert not case.has_sides
    for check in (kit.check_call, kit.check_batch, kit.check_retrieval, kit.check_parts):
        check(case)
    kit.check_learns(case)


class BlindToNumbers(LogisticRegression):
    def call(self, inputs, training=False):
        return super().call({**inputs, "picture": 0 * inputs["picture"]})


def test_a_column_that_is_not_read_is_found():
    with pytest.raises(AssertionError, match="orders pairs of new rows"):
        kit.check_learns(table_of(BlindToNumbers))


def test_a_model_whose_features_add_up_is_asked_for_no_tastes():
    case = ModelCase(LogisticRegression, num_params=33, adds_up=True)
    kit.check_learns(case)
    with pytest.raises(AssertionError, match="ranks the withheld item first"):
        kit.check_learns(ModelCase(LogisticRegression, num_params=33))


def test_random_numbers_are_raw():
    inputs = random_inputs(tiny_schema(sides=False), 500)
    assert 38 < inputs["age"].mean() < 42 and 10 < inputs["age"].std() < 14
    assert np.isnan(inputs["steps"]).any() and not np.isnan(inputs["picture"]).any()
