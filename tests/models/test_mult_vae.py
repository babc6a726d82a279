import dataclasses

import keras
import numpy as np
import pytest

from kerasrec.models import MultVAE
from kerasrec.models.autoencoders.mult_vae import divergence_of
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

SIZES = {"embedding_dim": 3, "hidden_units": (6, 5)}
KWARGS = {**SIZES, "dropout": 0.0}
WEIGHTS = (
    (17 + 2) * 6 + 6  # first layer
    + 6 * 5 + 5  # encoder
    + 2 * (5 * 3 + 3)  # mean and logarithm of the variance
    + 3 * 5 + 5 + 5 * 6 + 6  # decoder
    + (17 + 2) * (6 + 1)  # rows of the items
)  # fmt: skip
ROWS = (11 + 2 + 1) + 3 * 11  # where rows start, and the three items of each user
CASE = ModelCase(MultVAE, num_params=WEIGHTS + ROWS, kwargs=KWARGS)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    MultVAE,
    num_params=WEIGHTS,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    kwargs=KWARGS,
)


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def by_hand(model, items):
    """The scores of all items by the equation, for a user with these items."""
    profile = np.zeros(19)
    profile[items] = 1 / np.sqrt(max(1, len(items)))
    hidden = np.tanh(profile @ np.asarray(model.profile_vectors) + np.asarray(model.profile_bias))
    for layer in model.encoder:
        kernel, bias = layer.get_weights()
        hidden = np.tanh(hidden @ kernel + bias)
    kernel, bias = model.mean.get_weights()
    z = hidden @ kernel + bias
    for layer in model.decoder:
        kernel, bias = layer.get_weights()
        z = np.tanh(z @ kernel + bias)
    return (
        z @ np.asarray(model.item_vectors.embeddings).T
        + np.asarray(model.item_bias.embeddings).ravel()
    )


def test_score_is_the_equation():
    model = MultVAE(tiny_schema(), **SIZES)
    model.keep_rows({"user_id": np.array([2, 2, 2, 4, 1]), "item_id": np.array([3, 9, 9, 5, 6])})
    every = np.broadcast_to(np.arange(19), (3, 19))
    found = np.asarray(model({"user_id": np.array([2, 4, 7]), "item_id": every}))
    expected = [by_hand(model, items) for items in ([3, 9], [5], [])]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_history_serves_a_user_who_was_not_there():
    """With the same weights, a history in any order scores as the same rows of training."""
    rows = {"user_id": np.array([2, 2]), "item_id": np.array([3, 9])}
    model, folded = MultVAE(tiny_schema(), **SIZES), MultVAE(OF_HISTORIES.schema, **SIZES)
    model.keep_rows(rows)
    folded.keep_rows(rows)  # keeps nothing
    assert folded.user_rows is None
    for ours, theirs in zip(model.trainable_weights, folded.trainable_weights, strict=True):
        theirs.assign(ours)
    items = np.array([[4, 3, 12]])
    expected = np.asarray(model({"user_id": np.array([2]), "item_id": items}))
    asked = {"user_id": np.array([1]), "item_id": items, "history": np.array([[9, 1, 3, 9]])}
    np.testing.assert_allclose(np.asarray(folded(asked)), expected, atol=1e-6)


def test_reconstruction_is_the_score_without_noise_and_masks_what_is_no_item():
    model = MultVAE(tiny_schema(), **SIZES)
    items = np.array([[3, 9, 0], [0, 5, 0]])
    logits, penalty = map(np.asarray, model.reconstruct(items))
    expected = np.stack([by_hand(model, row[row > 0]) for row in items])
    np.testing.assert_allclose(logits[:, 2:], expected[:, 2:], atol=1e-5)
    assert (logits[:, :2] < -1e8).all() and logits.dtype == np.float32
    assert penalty.tolist() == [0, 0]


def test_training_draws_z_and_hides_items():
    keras.utils.set_random_seed(0)
    model = MultVAE(tiny_schema(), **SIZES, beta=0.5)
    items = np.full((1, 4), [[3, 9, 5, 6]])
    one, penalty = map(np.asarray, model.reconstruct(items, training=True))
    two, _ = map(np.asarray, model.reconstruct(items, training=True))
    assert np.abs(one - two)[:, 2:].max() > 1e-3
    hidden = np.tanh(np.asarray(model.read_profile(items, training=False)))
    assert penalty.shape == (1,) and penalty[0] > 0 and hidden.shape == (1, 6)
    # Without dropout, the penalty is beta times the divergence.
    plain = MultVAE(tiny_schema(), **SIZES, dropout=0.0, beta=0.5)
    hidden = np.tanh(np.asarray(plain.read_profile(items, training=True)))
    for layer in plain.encoder:
        hidden = layer(hidden)
    divergence = divergence_of(plain.mean(hidden), plain.log_variance(hidden))
    found = plain.reconstruct(items, training=True)[1]
    np.testing.assert_allclose(np.asarray(found), 0.5 * np.asarray(divergence), rtol=1e-5)


def test_divergence_by_hand():
    # KL(N(1, 4) || N(0, 1)) = (4 + 1 - log 4 - 1) / 2, twice.
    found = divergence_of(np.float32([[1, 1]]), np.log(np.float32([[4, 4]])))
    assert np.asarray(found).tolist() == pytest.approx([4 - np.log(4)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"hidden_units": ()}, "hidden_units must hold one width or more"),
        ({"hidden_units": (0,)}, "each of hidden_units must be an integer of at least 1"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to less than 1"),
        ({"beta": -1}, "beta must be a finite number of at least 0"),
        ({"l2": -1}, "l2 must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"MultVAE: {message}"):
        MultVAE(tiny_schema(), **options)


def test_too_many_items_are_refused_with_the_bytes():
    schema = Schema(user=Categorical("user_id", 9), item=Categorical("item_id", 10**9))
    with pytest.raises(ValueError, match=r"999,999,998 items need 9,600,000,000,000 bytes .*nar"):
        MultVAE(schema)


def test_rows_that_no_user_has():
    model = MultVAE(tiny_schema(), **SIZES)
    with pytest.raises(ValueError, match=r"MultVAE.keep_rows: expected positive rows of known"):
        model.keep_rows({"user_id": np.array([1]), "item_id": np.array([3])})
