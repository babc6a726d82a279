import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.models import LightGCN, MatrixFactorization
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import GraphSoftmaxTrainer, SampledSoftmaxTrainer

SCHEMA = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 9))
ROWS = {
    "user_id": np.array([2, 2, 3, 4], np.int32),
    "item_id": np.array([2, 5, 5, 8], np.int32),
}


def made(schema=SCHEMA, **options):
    keras.utils.set_random_seed(0)
    model = LightGCN(schema, **{"embedding_dim": 3, "stddev": 1.0, **options})
    model.adapt(ROWS)
    return model


def test_the_loss_is_that_of_the_smoothed_vectors():
    """In training as in validation, and as if the smoothed vectors were trained themselves."""
    model = made()
    trainer = GraphSoftmaxTrainer(model, negatives=6)
    plain = MatrixFactorization(SCHEMA, embedding_dim=3, use_bias=False)
    plain.user_vectors.embeddings.assign(model.user_vectors.embeddings)
    plain.item_vectors.embeddings.assign(model.item_vectors.embeddings)
    other = SampledSoftmaxTrainer(plain, negatives=6)
    for training in (True, False):
        found = np.asarray(trainer(ROWS, training=training))
        np.testing.assert_allclose(found, other(ROWS, training=training), rtol=1e-5, atol=1e-6)


def test_gradients_go_through_the_graph():
    model = made(num_layers=1)
    trainer = GraphSoftmaxTrainer(model, negatives=6)
    one = {name: ids[:1] for name, ids in ROWS.items()}  # user 2, of items 2 and 5
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trainer(one, training=True))
    gradient = tape.gradient(loss, model.user_base.embeddings.value)
    gradient = tf.convert_to_tensor(gradient).numpy()
    assert np.abs(gradient[2]).max() > 0
    assert np.abs(gradient[3]).max() > 0  # over item 5, which is drawn or not
    assert not gradient[:2].any()


@pytest.mark.parametrize("compiled", [False, True])
def test_it_learns_and_refreshes_before_validation(compiled):
    model = made()
    trainer = GraphSoftmaxTrainer(model, negatives=6)
    trainer.compile(keras.optimizers.Adam(0.05), jit_compile=compiled)
    valid = trainer.batches(ROWS, batch_size=4, seen=ROWS)
    history = trainer.fit(
        trainer.batches(ROWS, batch_size=4), validation_data=valid, epochs=15, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    before = model.item_vectors.embeddings.numpy()
    assert trainer.evaluate(valid, verbose=0) == pytest.approx(history["val_loss"][-1], rel=1e-5)
    model.refresh()
    np.testing.assert_array_equal(model.item_vectors.embeddings.numpy(), before)


def test_another_graph_is_trained_on_after_fit():
    model = made()
    trainer = GraphSoftmaxTrainer(model, negatives=6)
    trainer.compile(keras.optimizers.SGD(1e-9))
    batches = trainer.batches(ROWS, batch_size=4)
    trainer.fit(batches, verbose=0)
    model.adapt({name: ids[::-1] for name, ids in ROWS.items()} | {"user_id": ROWS["user_id"]})
    trainer.draws = keras.random.SeedGenerator(3)
    loss = trainer.fit(batches, verbose=0).history["loss"][0]
    trainer.draws.state.assign(keras.random.SeedGenerator(3).state)
    logits = np.asarray(trainer(ROWS, training=True))
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(-logits))), rel=1e-4)


def test_validation_reads_histories_of_unknown_users():
    history = IdSequence("history", of="item_id", max_length=3)
    schema = Schema(user=(Categorical("user_id", 5), history), item=Categorical("item_id", 9))
    trainer = GraphSoftmaxTrainer(made(schema), negatives=6)
    columns = ROWS | {"history": np.tile(np.array([2, 5, 0], np.int32), (4, 1))}
    training = trainer.batches(columns, batch_size=4)
    valid = trainer.batches(columns, batch_size=4, seen=columns)
    assert set(training.element_spec) == {"user_id", "item_id"}
    assert set(valid.element_spec) == {"user_id", "item_id", "history"}


def test_config():
    trainer = GraphSoftmaxTrainer(made(), negatives=6, sampling_correction=True, seed=3)
    again = GraphSoftmaxTrainer.from_config(trainer.get_config())
    assert (again.negatives, again.sampling_correction, again.seed) == (6, True, 3)
    assert again.model.user_rows.size == 4


def test_bad_models():
    with pytest.raises(ValueError, match="received MatrixFactorization. Train it with Sampled"):
        GraphSoftmaxTrainer(MatrixFactorization(SCHEMA))
    trainer = GraphSoftmaxTrainer(LightGCN(SCHEMA), negatives=6)
    trainer.compile("adam")
    with pytest.raises(ValueError, match=r"LightGCN has an empty graph. Call model.adapt"):
        trainer.fit(trainer.batches(ROWS, batch_size=4))
