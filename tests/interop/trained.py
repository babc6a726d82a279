"""A two-tower of TensorFlow Recommenders, trained by its own code and taken over; a program.

`test_tfrs.py` runs it in a process of its own, since `tf.keras` is Keras 2 there. Users and items
of one of two groups belong together, and each user has left one item of the group out.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from kerasrec import data, evaluation, interop, serving

USERS, ITEMS, DIM = 30, 24, 8


class TwoTower(tfrs.Model):
    """As the tutorial of TFRS has it, with a dense layer on the query tower."""

    def __init__(self, users, items):
        super().__init__()
        legacy = tf.keras
        self.query_tower = legacy.Sequential(
            [
                legacy.layers.StringLookup(vocabulary=users, mask_token=None),
                legacy.layers.Embedding(len(users) + 1, DIM),
                legacy.layers.Dense(DIM),
            ]
        )
        self.candidate_tower = legacy.Sequential(
            [
                legacy.layers.StringLookup(vocabulary=items, mask_token=None),
                legacy.layers.Embedding(len(items) + 1, DIM),
            ]
        )
        candidates = tf.data.Dataset.from_tensor_slices(items).batch(16)
        candidates = candidates.map(lambda ids: (ids, self.candidate_tower(ids)))
        metrics = tfrs.metrics.FactorizedTopK(candidates, ks=(3,))
        self.task = tfrs.tasks.Retrieval(metrics=metrics)

    def compute_loss(self, features, training=False):
        """In-batch softmax."""
        return self.task(
            self.query_tower(features["user_id"]),
            self.candidate_tower(features["item_id"]),
            candidate_ids=features["item_id"],  # counted by ids: scores of two kernels differ
            compute_metrics=not training,
        )


def rows():
    """Each user with 9 of the 12 items of the group, in a random order."""
    rng = np.random.default_rng(0)
    pairs = [
        (f"user {user}", f"item {item}", time)
        for user in range(USERS)
        for time, item in enumerate(rng.permutation(ITEMS // 2)[:9] * 2 + user % 2)
    ]
    users, items, times = zip(*pairs, strict=True)
    return data.Interactions.from_table(
        {"user_id": users, "item_id": items, "timestamp": times}, label=None
    )


def main(folder):
    """Train, take over, evaluate, export, verify; write what TFRS itself answers."""
    assert "tf_keras" in repr(tf.keras)
    tf.keras.utils.set_random_seed(0)
    split = data.leave_last_out(rows(), valid=0)
    vocabularies = data.fit_vocabularies(split.train)
    schema = data.make_schema(split.train, vocabularies)
    users, items = vocabularies["user_id"].ids, vocabularies["item_id"].ids

    model = TwoTower(users.tolist(), items.tolist())
    model.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(0.5))
    raw = {n: tf.constant(split.train.column(n).tolist()) for n in ("user_id", "item_id")}
    batches = tf.data.Dataset.from_tensor_slices(raw).shuffle(999, seed=0).batch(64)
    model.fit(batches, epochs=6, verbose=0)

    taken = interop.from_tfrs(
        model.query_tower, model.candidate_tower, schema=schema, vocabularies=vocabularies
    )
    train, test = (data.encode(part, vocabularies) for part in (split.train, split.test))
    found = evaluation.evaluate(taken, test, seen=train, k=3)
    of_training = evaluation.rank(taken, train, seen=None, k=3, per="row").summary()
    theirs = model.evaluate(batches, return_dict=True, verbose=0)

    path = serving.export(taken, folder / "served", vocabularies=vocabularies, k=5)
    taken.save(folder / "taken.keras")
    data.save_vocabularies(vocabularies, folder)
    tf.saved_model.save(model.query_tower, str(folder / "query_tower"))
    tf.saved_model.save(model.candidate_tower, str(folder / "candidate_tower"))

    candidates = tf.data.Dataset.from_tensor_slices(items.tolist()).batch(16)
    index = tfrs.layers.factorized_top_k.BruteForce(model.query_tower, k=5)
    index.index_from_dataset(candidates.map(lambda ids: (ids, model.candidate_tower(ids))))
    asked = [*users.tolist(), "a stranger"]
    scores, found_items = index(tf.constant(asked))
    kinds = tfrs.layers.factorized_top_k
    filled = {}
    for kind in (kinds.BruteForce, kinds.Streaming):
        ours = interop.fill_tfrs_index(kind(k=5), taken, vocabularies)
        again = ours(taken.query_embedding({"user_id": vocabularies["user_id"].encode(asked)}))
        filled[kind.__name__] = [again[0].numpy().tolist(), again[1].numpy().astype(str).tolist()]
    facts = {
        "verified": str(serving.verify(path)),
        "found": {name: v for name, v in found.items() if isinstance(v, float)},
        "ours": of_training["hr@3"],
        "theirs": theirs["factorized_top_k/top_3_categorical_accuracy"],
        "asked": asked,
        "scores": scores.numpy().tolist(),
        "items": found_items.numpy().astype(str).tolist(),
        "filled": filled,
        "signatures": sorted(tf.saved_model.load(str(path)).signatures),
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    seen = {user: [] for user in users.tolist()}
    for user, item in zip(*(raw[name].numpy().astype(str) for name in raw), strict=True):
        seen[str(user)].append(str(item))
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
