"""One process of a training on two workers, or both replicas in one process.

    python worker.py MODEL FILE                       # two replicas, here
    python worker.py MODEL FILE INDEX PORT PORT       # worker INDEX of two

MODEL is a model's name, or "sharded": MatrixFactorization over the files in FILE's folder, of which
each worker reads its part alone. FILE gets the history of `fit` and the weights (.npz).
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from kerasrec import data, distribute, models, optimizers
from kerasrec.retrieval import NextItemTrainer
from kerasrec.schema import Categorical, IdSequence, Schema

ROWS, BATCH = 576, 64
HISTORY = IdSequence("history", of="item", max_length=12)
SCHEMA = Schema(user=[Categorical("user", 50), HISTORY], item=Categorical("item", 40))
LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)


def rows():
    rng = np.random.default_rng(0)
    return {
        "user": rng.integers(2, 50, ROWS).astype("int32"),
        "item": rng.integers(2, 40, ROWS).astype("int32"),
        "label": rng.integers(0, 2, ROWS).astype("float32"),
        "timestamp": np.arange(ROWS),
    }


def training(name):
    """What is fitted, compiled, and its batches for training and validation."""
    decay = optimizers.inverse_time_decay(
        0.02, examples=ROWS, batch_size=BATCH, epochs=3, decay_rate=1.0, verbose=0
    )
    # With a smaller epsilon Adam divides rounding differences by themselves where gradients vanish.
    adam = optimizers.Adam(decay, clipnorm=0.05, epsilon=1e-4)
    if name == "SASRec":
        # Dropout draws other numbers on each replica.
        trainer = NextItemTrainer(models.SASRec(SCHEMA, embedding_dim=8, dropout=0.0))
        trainer.compile(adam)
        batches = data.next_items(rows(), SCHEMA, batch_size=4)
        return trainer, batches, None
    if name == "StackedLSTMClassifier":
        model = models.StackedLSTMClassifier(SCHEMA, embedding_dim=8, hidden_units=(8, 4))
        columns = data.add_history(rows(), SCHEMA)
    else:
        arguments = {"hidden_units": (8,)} if name == "EmbeddingMLP" else {}
        model = getattr(models, name)(SCHEMA, embedding_dim=8, **arguments)
        columns = rows()
        columns["history"] = np.zeros((ROWS, 12), "int32")
    model.compile(adam, LOGITS, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])
    train = data.pointwise(columns, SCHEMA, batch_size=BATCH)
    return model, train, data.pointwise(columns, SCHEMA, batch_size=BATCH, shuffle=False)


def sharded(strategy, folder, apart):
    """MatrixFactorization over Parquet files; two replicas together get what two workers read."""
    schema = Schema(user=Categorical("user", 50), item=Categorical("item", 40))
    model = models.MatrixFactorization(schema, embedding_dim=8)
    model.compile(optimizers.Adam(0.02, clipnorm=0.05, epsilon=1e-4), LOGITS)
    vocabularies = {
        name: data.Vocabulary(np.arange(ids), np.ones(ids, int), name)
        for name, ids in (("user", 48), ("item", 38))
    }

    def part(shard):
        options = {"batch_size": BATCH, "buffer_rows": 200, "shard": shard}
        return data.stream_parquet(folder, schema, vocabularies, **options)

    def read():
        if apart:
            return part(distribute.shard(strategy))
        both = tf.data.Dataset.zip(part((0, 2)), part((1, 2))).map(
            lambda *parts: tf.nest.map_structure(lambda *values: tf.concat(values, 0), *parts)
        )
        options = tf.data.Options()
        policy = tf.data.experimental.AutoShardPolicy.DATA
        options.experimental_distribute.auto_shard_policy = policy
        return both.with_options(options)

    return model, read(), read()


def main():
    name, file, *place = sys.argv[1:]
    if place:
        workers = [f"127.0.0.1:{port}" for port in place[1:]]
        strategy = distribute.strategy("multiworker", workers=workers, index=int(place[0]))
    else:
        strategy = distribute.strategy("cpu", replicas=2)
    print(distribute.batches(strategy, BATCH), flush=True)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        if name == "sharded":
            trained, train, valid = sharded(strategy, pathlib.Path(file).parent, bool(place))
        else:
            trained, train, valid = training(name)
    history = trained.fit(train, validation_data=valid, epochs=3, verbose=0, shuffle=False).history
    weights = {str(at): np.asarray(w) for at, w in enumerate(trained.get_weights())}
    np.savez(file, history=json.dumps(history), **weights)


if __name__ == "__main__":
    main()
