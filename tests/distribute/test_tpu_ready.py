"""What a TPU asks of a training step, as far as a CPU can tell; docs/guides/scale.md has the rest.

No step holds strings, lookups, random access by Python, or shapes that depend on the data, and XLA
compiles it to the same losses.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data, models, optimizers
from kerasrec.retrieval import NextItemTrainer, SampledSoftmaxTrainer
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import multi_worker

ROWS, BATCH = 256, 32
PLAIN = Schema(user=Categorical("user", 50), item=Categorical("item", 40))
HISTORY = IdSequence("history", of="item", max_length=12)
SEQUENTIAL = Schema(user=[Categorical("user", 50), HISTORY], item=Categorical("item", 40))
LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
# Beginnings of the names of ops that stay on the host, or whose result is as large as the data say.
HOST = (
    "Lookup", "HashTable", "MutableHash", "PyFunc", "EagerPyFunc", "String", "AsString", "Parse",
    "Decode", "Print", "Assert",
)  # fmt: skip
DYNAMIC = ("Unique", "Where", "DynamicPartition", "Sparse", "Ragged", "SetDiff", "ListDiff")


def rows():
    rng = np.random.default_rng(0)
    pairs = rng.choice(48 * 38, ROWS, replace=False)
    return {
        "user": (pairs // 38 + 2).astype("int32"),
        "item": (pairs % 38 + 2).astype("int32"),
        "label": rng.integers(0, 2, ROWS).astype("float32"),
        "timestamp": np.arange(ROWS),
    }


def training(name):
    """What is fitted, its loss, and batches that all have one shape."""
    options = {"batch_size": BATCH, "drop_remainder": True}
    if name in ("SASRec", "GRU4Rec"):
        batches = data.next_items(rows(), SEQUENTIAL, batch_size=4)
        arguments = {"dropout": 0.0} if name == "SASRec" else {}
        return (
            NextItemTrainer(getattr(models, name)(SEQUENTIAL, embedding_dim=8, **arguments)),
            None,
            batches,
        )
    if name == "StackedLSTMClassifier":
        model = models.StackedLSTMClassifier(SEQUENTIAL, embedding_dim=8, hidden_units=(8,))
        return model, LOGITS, data.histories(rows(), SEQUENTIAL, **options)
    if name == "EmbeddingMLP":
        model = models.EmbeddingMLP(PLAIN, embedding_dim=8, hidden_units=(8,))
        positives = {k: v for k, v in rows().items() if k != "label"}
        return model, LOGITS, data.with_negatives(positives, PLAIN, negatives=1, **options)
    model = models.MatrixFactorization(PLAIN, embedding_dim=8)
    if name == "SampledSoftmaxTrainer":
        positives = rows() | {"label": np.ones(ROWS, "float32")}
        return SampledSoftmaxTrainer(model), LOGITS, data.pointwise(positives, PLAIN, **options)
    return model, LOGITS, data.pointwise(rows(), PLAIN, **options)


def compiled(name, optimizer, **options):
    keras.utils.set_random_seed(0)
    trained, loss, batches = training(name)
    trained.compile(optimizer, **({} if loss is None else {"loss": loss}), **options)
    return trained, batches


NAMES = (
    "MatrixFactorization", "EmbeddingMLP", "StackedLSTMClassifier", "SASRec", "GRU4Rec",
    "SampledSoftmaxTrainer",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_all_numbers_of_fixed_shapes(name):
    trained, batches = compiled(name, keras.optimizers.Adam())
    spec = batches.element_spec
    assert all(one.shape.is_fully_defined() for one in tf.nest.flatten(spec))
    trained.fit(batches, verbose=0, shuffle=False)  # builds metrics and optimizer
    step = tf.function(trained.train_step).get_concrete_function(spec)
    graph = step.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert len(nodes) > 50
    assert not [n.op for n in nodes if n.op.startswith(HOST + DYNAMIC)]
    kinds = {value.type for n in nodes for value in n.attr.values()}
    assert tf.string.as_datatype_enum not in kinds


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_xla_trains_to_the_same_losses(name):
    losses = []
    for jit_compile in (False, True):
        adam = optimizers.Adam(0.01, clipnorm=1.0, epsilon=1e-4)
        trained, batches = compiled(name, adam, jit_compile=jit_compile)
        history = trained.fit(batches, epochs=2, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-3)


def test_under_a_tpu_strategy_batches_need_one_shape(monkeypatch):
    monkeypatch.setattr(multi_worker, "on_tpu", lambda strategy: True)
    model = models.MatrixFactorization(PLAIN, embedding_dim=8)
    model.compile("adam", LOGITS)
    ragged = data.pointwise(rows(), PLAIN, batch_size=100)
    with pytest.raises(ValueError, match="on a TPU all batches .* drop_remainder=True"):
        model.fit(ragged, verbose=0, shuffle=False)
    fixed = data.pointwise(rows(), PLAIN, batch_size=100, drop_remainder=True)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        model.fit(fixed, validation_data=ragged, verbose=0, shuffle=False)
    assert model.fit(fixed, validation_data=fixed, verbose=0, shuffle=False).epoch == [0]


def test_why_tables_stay_out_of_the_sparse_core():
    """`DistributedEmbedding` updates its tables by an optimizer of its own, which cannot clip."""
    from keras_rs.src.layers.embedding.tensorflow.config_conversion import (
        keras_to_tf_tpu_optimizer,
    )

    for option in ("clipnorm", "global_clipnorm"):
        with pytest.raises(ValueError, match=f"Unsupported optimizer option .*{option}"):
            keras_to_tf_tpu_optimizer(optimizers.Adam(0.01, **{option: 1.0}))
    # Worse, what it does not know it leaves out without a word.
    embedding = tf.tpu.experimental.embedding
    clipped = keras_to_tf_tpu_optimizer(optimizers.Adam(0.01, adaptive_clip=0.1))
    assert type(clipped) is embedding.Adam and clipped.clip_gradient_max is None
    assert type(keras_to_tf_tpu_optimizer(optimizers.RowwiseAdagrad(0.01))) is embedding.Adagrad
