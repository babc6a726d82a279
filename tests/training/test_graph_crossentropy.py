import keras
import numpy as np
import pytest
import scipy.sparse

from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.schema import Categorical, Schema
from kerasrec.training import GraphCrossentropyTrainer
from kerasrec.training.graphs.graph_crossentropy import similar_items

SCHEMA = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 9))
ROWS = {
    "user_id": np.array([2, 2, 3, 3, 4, 1], np.int32),
    "item_id": np.array([2, 5, 5, 8, 5, 6], np.int32),
}


def made(**options):
    model = MatrixFactorization(SCHEMA, embedding_dim=3, use_bias=False, stddev=1.0)
    trainer = GraphCrossentropyTrainer(model, **{"negatives": 4, "neighbours": 2, **options})
    trainer.adapt(ROWS)
    return trainer


def drawn(trainer):
    """The items of the next call in training, told by the generator's state."""
    again = keras.random.SeedGenerator(0)
    again.state.assign(trainer.draws.state)
    return np.asarray(keras.random.randint((trainer.negatives,), 2, 9, dtype="int32", seed=again))


def beta(user, item):
    users, items = {2: 2, 3: 2, 4: 1}, {2: 1, 5: 3, 8: 1}  # degrees
    d = users[user]
    return np.sqrt((d + 1) / (items.get(item, 0) + 1)) / d


def softplus(values):
    return np.log1p(np.exp(values))


def test_loss_by_hand():
    trainer = made(negatives=20, negative_weight=7.0, neighbour_weight=0.5)
    items = drawn(trainer)
    rows = {name: ids[:5] for name, ids in ROWS.items()}
    found = np.asarray(trainer(rows, training=True))
    p, q = (
        np.asarray(table.embeddings.value)
        for table in (trainer.model.user_vectors, trainer.model.item_vectors)
    )
    # Users 2 and 3 have the items 2, 5 and 5, 8. Item 5 is in common with 2, itself and 8: 1, 3, 1.
    omega = {
        2: {5: 1 / 1 * np.sqrt(2 / 5)},
        5: {2: 1 / 2 * np.sqrt(5 / 2), 8: 1 / 2 * np.sqrt(5 / 2)},
        8: {5: 1 / 1 * np.sqrt(2 / 5)},
    }
    for row, (user, item) in enumerate(zip(*rows.values(), strict=True)):
        scores = p[user] @ q.T
        expected = beta(user, item) * softplus(-scores[item])
        others = [beta(user, other) * softplus(scores[other]) for other in items if other != item]
        expected += 7.0 / 20 * sum(others)
        expected += 0.5 * sum(w * softplus(-scores[k]) for k, w in omega[item].items())
        assert found[row] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [3, 50])
def test_similar_items_are_the_largest_of_the_dense_matrix(count):
    dense = np.random.default_rng(0).random((30, 40)) < 0.1
    dense[:, :3] = False
    ids, weights = similar_items(scipy.sparse.csr_matrix(dense.astype("float32")), count)
    gram = (dense.T.astype(float) @ dense).astype(float)
    sums = gram.sum(axis=1)
    rest = np.maximum(sums - np.diag(gram), 1)
    omega = gram / rest[:, None] * np.sqrt(sums[:, None] / np.maximum(sums, 1))
    np.fill_diagonal(omega, 0)
    best = np.sort(omega, axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(weights[:, : best.shape[1]], best, rtol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(omega, ids, axis=1)[weights > 0], weights[weights > 0], rtol=1e-5
    )
    assert not ids[weights == 0].any() and not weights[:, 40:].any()


def test_a_row_of_weight_0_does_not_count():
    trainer = made()
    trainer.compile("sgd")
    rows = {name: ids[:2] for name, ids in ROWS.items()}
    losses = np.asarray(trainer(rows))  # always the same drawn items
    loss = trainer.test_on_batch(rows, sample_weight=np.float32([0.0, 2.0]))
    assert loss == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_learns(compiled):
    keras.utils.set_random_seed(0)
    trainer = made(negative_weight=1.0)
    trainer.compile(keras.optimizers.Adam(0.1), jit_compile=compiled)
    batches = trainer.batches(ROWS, batch_size=3)
    losses = trainer.fit(batches, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    scores = np.asarray(trainer.model({"user_id": np.array([2, 2]), "item_id": np.array([5, 7])}))
    assert scores[0] > scores[1]


def test_config():
    options = {"negatives": 3, "negative_weight": 2.0, "neighbours": 4, "neighbour_weight": 0.1}
    again = GraphCrossentropyTrainer.from_config(made(**options).get_config())
    assert {name: getattr(again, name) for name in options} == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "negatives must be an integer of at least 1"),
        ({"negative_weight": -1.0}, "negative_weight must be a finite number of at least 0"),
        ({"neighbours": 0}, "neighbours must be an integer of at least 1"),
        ({"neighbour_weight": "a"}, "neighbour_weight must be a finite number of at least 0"),
    ],
)
def test_bad_numbers(options, message):
    with pytest.raises(ValueError, match=f"GraphCrossentropyTrainer: {message}"):
        made(**options)


def test_bad_models_and_rows():
    with pytest.raises(ValueError, match="expected a model with query_embedding"):
        GraphCrossentropyTrainer(EmbeddingMLP(SCHEMA))
    trainer = GraphCrossentropyTrainer(MatrixFactorization(SCHEMA))
    trainer.compile("adam")
    with pytest.raises(ValueError, match=r"Call trainer.adapt\(columns\)"):
        trainer.fit(trainer.batches(ROWS, batch_size=2))
    with pytest.raises(ValueError, match="expected positive rows of known users and items"):
        trainer.adapt({"user_id": np.array([1]), "item_id": np.array([2])})
    trainer.adapt(ROWS)
    with pytest.raises(ValueError, match="labels would be ignored"):
        trainer.fit(ROWS, np.ones(6), verbose=0)
