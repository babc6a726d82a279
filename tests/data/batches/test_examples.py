"""Batches: shapes, labels, order, determinism, and that Keras takes them as they are."""

import gzip
import itertools
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.batches.examples import (
    blocks,
    histories,
    pointwise,
    shared_negatives,
    with_negatives,
)
from kerasrec.data.encoding.sequences import add_history
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema

SCHEMA = Schema(user=[Categorical("user", 20)], item=[Categorical("item", 50)])


SIDES = ("user", "item")


def make_columns(rows: int = 23, seed: int = 0) -> dict[str, np.ndarray]:
    """Distinct (user, item) pairs; each user has seen a few items."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(18 * 40)[:rows]
    return {
        "user": (pairs // 40 + 2).astype(np.int32),
        "item": (pairs % 40 + 2).astype(np.int32),
        "label": rng.integers(1, 6, rows).astype(np.float32),
        "importance": rng.random(rows),
        "timestamp": np.arange(rows),
    }


def everything(dataset: tf.data.Dataset) -> list:
    return list(dataset.as_numpy_iterator())


def same(first: list, second: list) -> bool:
    left, right = tf.nest.flatten(first), tf.nest.flatten(second)
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def joined(dataset: tf.data.Dataset, name: str) -> np.ndarray:
    return np.concatenate([batch[0][name] for batch in everything(dataset)])


# --- pointwise ---


def test_pointwise_keeps_rows_together():
    columns = make_columns()
    found = everything(pointwise(columns, SCHEMA, batch_size=5, weight="importance"))
    assert [len(label) for _, label, _ in found] == [5, 5, 5, 5, 3]
    rows = {
        (int(u), int(i), float(y), float(w))
        for features, label, weight in found
        for u, i, y, w in zip(features["user"], features["item"], label, weight, strict=True)
    }
    weight = columns["importance"].astype(np.float32)
    expected = zip(columns["user"], columns["item"], columns["label"], weight, strict=True)
    assert rows == {(int(u), int(i), float(y), float(w)) for u, i, y, w in expected}
    features, label, weight = found[0]
    assert set(features) == {"user", "item"}
    assert features["user"].dtype == np.int32
    assert label.dtype == weight.dtype == np.float32


def test_pointwise_in_order_without_shuffle():
    columns = make_columns()
    dataset = pointwise(columns, SCHEMA, batch_size=7, shuffle=False)
    np.testing.assert_array_equal(joined(dataset, "item"), columns["item"])
    assert same(everything(dataset), everything(dataset))


@pytest.mark.parametrize(
    ("batch_size", "drop_remainder", "count", "rows"),
    [
        (5, False, 5, None),
        (5, True, 4, 5),
        (23, False, 1, 23),
        (100, False, 1, None),
        (1, False, 23, 1),
    ],
)
def test_cardinality_and_static_shapes(batch_size, drop_remainder, count, rows):
    dataset = pointwise(
        make_columns(), SCHEMA, batch_size=batch_size, drop_remainder=drop_remainder
    )
    assert int(dataset.cardinality()) == count == len(everything(dataset))
    features, label = dataset.element_spec
    assert features["user"].shape.as_list() == label.shape.as_list() == [rows]


def test_autotune_is_off_and_workers_share_the_batches():
    options = pointwise(make_columns(), SCHEMA, batch_size=5).options()
    assert options.autotune.enabled is False
    policy = options.experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.DATA


def test_all_kinds_of_features_and_integer_types():
    schema = Schema(
        user=[Categorical("user", 20), Numeric("age")],
        item=[Categorical("item", 50), Bag("genres", 9, max_length=3), Numeric("vector", size=2)],
        context=[Categorical("hour", 26)],
    )
    columns = make_columns(6)
    columns |= {
        "user": columns["user"].astype(np.int64),
        "age": np.arange(6.0),
        "genres": np.arange(18).reshape(6, 3) % 9,
        "vector": np.ones((6, 2), np.float16),
        "hour": np.zeros(6, np.uint8),
    }
    features, _ = everything(pointwise(columns, schema, batch_size=4))[0]
    assert {name: (str(v.dtype), v.shape) for name, v in features.items()} == {
        "user": ("int32", (4,)),
        "age": ("float32", (4,)),
        "hour": ("int32", (4,)),
        "item": ("int32", (4,)),
        "genres": ("int32", (4, 3)),
        "vector": ("float32", (4, 2)),
    }


# --- negatives ---


def test_with_negatives_groups_each_positive_with_its_own():
    columns = make_columns(200)
    dataset = with_negatives(columns, SCHEMA, batch_size=32, negatives=4)
    found = everything(dataset)  # one pass: the next one has another order
    # 6 groups of 5 in a batch of at most 32 pairs; 200 = 33 * 6 + 2.
    assert [label.shape for _, label in found] == [(6, 5)] * 33 + [(2, 5)]
    assert int(dataset.cardinality()) == 34
    users, items = (
        np.concatenate([features[name] for features, _ in found]) for name in ("user", "item")
    )
    assert (np.concatenate([label for _, label in found]) == [1, 0, 0, 0, 0]).all()
    pairs = set(zip(columns["user"], columns["item"], strict=True))
    assert set(zip(users, items[:, 0], strict=True)) == pairs
    drawn = set(zip(np.repeat(users, 4), items[:, 1:].ravel(), strict=True))
    assert not drawn & pairs
    assert items.min() >= 2 and items.max() < 50


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 60),
    negatives=st.integers(0, 5),
    batch_size=st.integers(6, 90),
    drop_remainder=st.booleans(),
    block=st.sampled_from([1, 100, 2**18]),
)
def test_any_size_gives_each_positive_once(rows, negatives, batch_size, drop_remainder, block):
    columns = make_columns(rows)
    groups = batch_size // (1 + negatives)
    options = {"batch_size": batch_size, "negatives": negatives, "drop_remainder": drop_remainder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_VALUES", block)
        if drop_remainder and rows < groups:
            with pytest.raises(ValueError, match="drop_remainder leaves nothing"):
                with_negatives(columns, SCHEMA, **options)
            return
        dataset = with_negatives(columns, SCHEMA, **options)
        found = everything(dataset)
    kept = rows // groups * groups if drop_remainder else rows
    assert len(found) == int(dataset.cardinality()) == -(-kept // groups)
    label = np.concatenate([label for _, label in found])
    item = np.concatenate([features["item"] for features, _ in found])
    assert label.shape == (kept, 1 + negatives) and label.sum() == kept
    positives = sorted(item[label == 1].tolist())
    if kept == rows:
        assert positives == sorted(columns["item"].tolist())


@settings(max_examples=10, deadline=None)
@given(
    make=st.sampled_from([with_negatives, shared_negatives]),
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=40).filter(lambda n: max(n) >= 3),
    seed=st.integers(0, 99),
)
def test_rows_below_the_threshold_are_seen_and_not_learned(make, labels, seed):
    schema = Schema(SCHEMA.user, SCHEMA.item, positive=">=3")
    columns = make_columns(len(labels), seed) | {"label": np.array(labels, np.float32)}
    found = everything(make(columns, schema, batch_size=9, negatives=3, allow_seen=False))
    users, items = (np.concatenate([batch[0][name] for batch in found]) for name in SIDES)
    pairs = list(zip(columns["user"], columns["item"], strict=True))
    liked = [pair for pair, label in zip(pairs, labels, strict=True) if label >= 3]
    assert sorted(zip(users, items[:, 0], strict=True)) == sorted(liked)
    drawn = zip(np.repeat(users, 3), items[:, 1:].ravel(), strict=True)
    assert not set(drawn) & set(pairs)


def test_seen_pairs_of_other_rows_are_not_drawn_either():
    schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 6)])
    columns = {"user": np.array([2, 3]), "item": np.array([2, 2])}
    seen = {"user": np.array([2, 2]), "item": np.array([3, 4])}
    dataset = with_negatives(
        columns, schema, batch_size=200, negatives=99, seen=seen, shuffle=False
    )
    items = joined(dataset, "item")
    assert set(items[0, 1:]) == {5} and set(items[1, 1:]) == {3, 4, 5}


def test_seen_items_come_when_asked_for():
    schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 4)])
    columns = {"user": np.array([2, 2]), "item": np.array([2, 3])}
    with pytest.raises(ValueError, match=r"1 users have seen all of the 2 items.*\[2\]"):
        with_negatives(columns, schema, batch_size=10)
    items = joined(with_negatives(columns, schema, batch_size=10, allow_seen=True), "item")
    assert set(items.ravel()) == {2, 3}
    # Without negatives there is nothing to draw.
    assert len(joined(with_negatives(columns, schema, batch_size=10, negatives=0), "item")) == 2


def test_popularity_reaches_the_draw():
    popularity = np.zeros(48)
    popularity[[40, 45]] = 1, 3
    columns = make_columns(20)
    for make in (with_negatives, shared_negatives):
        dataset = make(columns, SCHEMA, batch_size=100, negatives=60, popularity=popularity)
        items = np.concatenate([f["item"][:, 1:].ravel() for f, _ in everything(dataset)])
        assert set(items) == {42, 47}


def test_one_user_and_one_item():
    schema = Schema(user=[Categorical("user", 3)], item=[Categorical("item", 3)])
    columns = {"user": np.array([2]), "item": np.array([2]), "label": np.array([1.0])}
    assert len(everything(pointwise(columns, schema, batch_size=8))) == 1
    with pytest.raises(ValueError, match="have seen all of the 1 items"):
        with_negatives(columns, schema, batch_size=8)


@pytest.mark.parametrize("make", [with_negatives, shared_negatives])
def test_unknown_users_are_rows_like_others_and_unknown_items_no_positives(make):
    columns = {"user": np.array([1, 1, 2]), "item": np.array([1, 7, 8])}
    options = {"batch_size": 300, "negatives": 99, "shuffle": False}
    ((features, _),) = everything(make(columns, SCHEMA, **options))
    assert features["user"].tolist() == [1, 2]
    assert features["item"][:, 0].tolist() == [7, 8] and features["item"][:, 1:].min() >= 2
    columns["item"][:] = 1
    with pytest.raises(ValueError, match="items of all 3 positive rows are unknown"):
        make(columns, SCHEMA, **options)


def test_huge_id_spaces_need_no_users_times_items_array():
    num = 10**8
    schema = Schema(user=[Categorical("user", num)], item=[Categorical("item", num)])
    columns = {"user": np.array([2, num - 1]), "item": np.array([num - 1, 2])}
    features, _ = everything(with_negatives(columns, schema, batch_size=10, shuffle=False))[0]
    assert features["item"][:, 0].tolist() == [num - 1, 2]


def test_features_of_drawn_items_are_looked_up():
    schema = Schema(
        user=[Categorical("user", 20)], item=[Categorical("item", 50), Numeric("price")]
    )
    columns = make_columns()
    with pytest.raises(ValueError, match=r"need their features \['price'\] too; pass items"):
        with_negatives(columns, schema, batch_size=10)
    price = np.arange(50) * 0.5
    for make in (with_negatives, shared_negatives):
        dataset = make(columns, schema, batch_size=10, items={"price": price})
        for features, _ in everything(dataset):
            np.testing.assert_array_equal(features["price"], features["item"] * 0.5)
    with pytest.raises(ValueError, match="one row per item id.*50; received 49"):
        with_negatives(columns, schema, batch_size=10, items={"price": price[1:]})


# --- shared negatives ---


def test_shared_negatives_are_the_same_for_the_batch_and_new_for_the_next(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 300)  # 5 batches a block
    columns = make_columns(100)
    dataset = shared_negatives(columns, SCHEMA, batch_size=8, negatives=6)
    assert dataset.element_spec[0]["item"].shape.as_list() == [None, 7]
    found = everything(dataset)
    for features, label in found:
        assert features["item"].dtype == label.dtype == np.int32
        assert label.tolist() == [0] * len(label)
        assert (features["item"][:, 1:] == features["item"][:1, 1:]).all()
    shared = {tuple(features["item"][0, 1:]) for features, _ in found}
    assert len(shared) == len(found) == 13
    positives = {(u, i) for f, _ in found for u, i in zip(f["user"], f["item"][:, 0], strict=True)}
    assert positives == set(zip(columns["user"], columns["item"], strict=True))


def test_shared_negatives_redraw_accidental_hits_when_asked():
    columns = make_columns(300)
    pairs = set(zip(columns["user"], columns["item"], strict=True))

    def hits(dataset: tf.data.Dataset) -> int:
        return sum(
            (user, item) in pairs
            for features, _ in everything(dataset)
            for user, row in zip(features["user"], features["item"], strict=True)
            for item in row[1:]
        )

    options = {"batch_size": 30, "negatives": 20}
    assert hits(shared_negatives(columns, SCHEMA, **options)) > 1000
    assert hits(shared_negatives(columns, SCHEMA, allow_seen=False, **options)) == 0


# --- histories ---


SEQUENTIAL = Schema(
    user=[Categorical("user", 20), IdSequence("history", of="item", max_length=4)],
    item=[Categorical("item", 50)],
)


def test_histories_follow_their_rows_through_the_shuffle():
    columns = make_columns(60)
    expected = add_history(columns, SEQUENTIAL)["history"][np.arange(60)]
    by_pair = {
        (u, i): row.tolist()
        for u, i, row in zip(columns["user"], columns["item"], expected, strict=True)
    }
    dataset = histories(columns, SEQUENTIAL, batch_size=7)
    assert dataset.element_spec[0]["history"].shape.as_list() == [None, 4]
    for features, _ in everything(dataset):
        for user, item, row in zip(
            features["user"], features["item"], features["history"], strict=True
        ):
            assert row.tolist() == by_pair[user, item]
    some = histories(columns, SEQUENTIAL, batch_size=7, min_history=2)
    assert (joined(some, "history")[:, 1] > 0).all()


def test_histories_go_with_negatives():
    columns = add_history(make_columns(60), SEQUENTIAL)
    grouped = everything(with_negatives(columns, SEQUENTIAL, batch_size=15, negatives=2))[0][0]
    assert grouped["history"].shape == (5, 4) and grouped["item"].shape == (5, 3)
    shared = everything(shared_negatives(columns, SEQUENTIAL, batch_size=15, negatives=2))[0][0]
    assert shared["history"].shape == (15, 4) and shared["item"].shape == (15, 3)


# --- determinism ---


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: pointwise(make_columns(), SCHEMA, batch_size=4, seed=seed),
        lambda seed: with_negatives(make_columns(), SCHEMA, batch_size=20, seed=seed),
        lambda seed: shared_negatives(make_columns(), SCHEMA, batch_size=4, negatives=3, seed=seed),
        lambda seed: histories(make_columns(), SEQUENTIAL, batch_size=4, seed=seed),
    ],
    ids=["pointwise", "with_negatives", "shared_negatives", "histories"],
)
def test_passes_differ_and_repeat_with_the_seed(make):
    one, other = make(3), make(3)
    passes = [everything(one) for _ in range(3)]
    assert all(not same(a, b) for a, b in itertools.combinations(passes, 2))
    assert all(same(first, everything(other)) for first in passes)
    assert not same(passes[0], everything(make(4)))


def test_negatives_change_with_the_pass_even_without_shuffle_and_cache_keeps_them():
    dataset = with_negatives(make_columns(), SCHEMA, batch_size=20, shuffle=False)
    assert not same(everything(dataset), everything(dataset))
    fixed = dataset.cache()
    assert same(everything(fixed), everything(fixed))
    assert int(fixed.cardinality()) == int(dataset.cardinality())


def test_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = everything(with_negatives(make_columns(), SCHEMA, batch_size=20))
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.random.seed(2)
    assert same(first, everything(with_negatives(make_columns(), SCHEMA, batch_size=20)))


def test_the_callers_columns_are_left_alone():
    columns = make_columns()
    before = {name: values.copy() for name, values in columns.items()}
    for array in columns.values():
        array.setflags(write=False)
    everything(with_negatives(columns, SCHEMA, batch_size=20))
    everything(histories(columns, SEQUENTIAL, batch_size=20))
    for name, values in before.items():
        np.testing.assert_array_equal(columns[name], values)


# --- Keras ---


class Dot(keras.Model):
    def __init__(self):
        super().__init__()
        self.users = keras.layers.Embedding(20, 4, embeddings_initializer="ones")
        self.items = keras.layers.Embedding(50, 4, embeddings_initializer="ones")

    def call(self, inputs):
        users, items = self.users(inputs["user"]), self.items(inputs["item"])
        if len(items.shape) == 3:
            users = keras.ops.expand_dims(users, 1)
        return keras.ops.sum(users * items, axis=-1)


def fitted(dataset: tf.data.Dataset, **options) -> dict:
    model = Dot()
    model.compile("sgd", loss="mean_squared_error", **options)
    return model.fit(dataset, epochs=2, shuffle=False, verbose=0).history


def test_fit_with_progress_weights_and_validation(capsys):
    columns = make_columns(64)
    train = pointwise(columns, SCHEMA, batch_size=8, weight="importance")
    valid = pointwise(columns, SCHEMA, batch_size=8, shuffle=False)
    model = Dot()
    model.compile("sgd", loss="mean_squared_error")
    model.fit(train, validation_data=valid, epochs=2, shuffle=False)
    assert "8/8" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [3, 16])
def test_steps_per_execution_changes_nothing(steps):
    columns = make_columns(63)  # 8 batches, the last one smaller

    def dataset() -> tf.data.Dataset:
        return pointwise(columns, SCHEMA, batch_size=8, shuffle=False)

    one, several = fitted(dataset()), fitted(dataset(), steps_per_execution=steps)
    np.testing.assert_allclose(one["loss"], several["loss"], rtol=1e-5)


def test_softmax_over_shared_negatives_falls():
    dataset = shared_negatives(make_columns(200), SCHEMA, batch_size=20, negatives=8)
    model = Dot()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    losses = model.fit(dataset, epochs=4, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_xla_takes_the_static_batches():
    dataset = with_negatives(make_columns(60), SCHEMA, batch_size=20, drop_remainder=True)
    assert np.isfinite(fitted(dataset, jit_compile=True)["loss"]).all()


def test_two_replicas_share_each_batch_as_of_a_plain_dataset():
    columns = make_columns(60)  # 7 batches of 8 and one of 4
    ours = pointwise(columns, SCHEMA, batch_size=8, shuffle=False)
    features = {name: columns[name] for name in ("user", "item")}
    plain = tf.data.Dataset.from_tensor_slices((features, columns["label"])).batch(8)
    # Collectives of a second strategy in one process may clash with those of the first.
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    shares = [
        tuple(value.shape[0] for value in strategy.experimental_local_results(label))
        for _, label in strategy.experimental_distribute_dataset(ours)
    ]
    assert shares == [(4, 4)] * 7 + [(2, 2)]
    losses = []
    for dataset in (ours, plain):
        with strategy.scope():
            losses.append(fitted(dataset)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert losses[0][1] < losses[0][0]


# --- bad input ---


GOOD = make_columns(6)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({k: v[:0] for k, v in GOOD.items()}, {}, "received no rows"),
        ({**GOOD, "item": GOOD["item"][:3]}, {}, "same number of rows.*'item': 3"),
        ({**GOOD, "label": GOOD["label"][:3]}, {}, "same number of rows.*'label': 3"),
        ({k: v for k, v in GOOD.items() if k != "user"}, {}, "expected a column 'user'"),
        ({k: v for k, v in GOOD.items() if k != "label"}, {}, "expected a column 'label'"),
        ({**GOOD, "user": GOOD["user"] * 1.0}, {}, "int32 ids; received float64"),
        ({**GOOD, "user": GOOD["user"].astype(str)}, {}, "int32 ids; received <U"),
        ({**GOOD, "user": GOOD["user"].tolist()}, {}, "numpy array.*received list"),
        ({**GOOD, "user": GOOD["user"][:, None]}, {}, r"the shape \(rows\); received \(6, 1\)"),
        ({**GOOD, "user": GOOD["user"] + 18}, {}, "ids from 1 to 19; received ids from"),
        ({**GOOD, "item": GOOD["item"] * 0}, {}, "ids from 1 to 49; received ids from 0 to 0"),
        ({**GOOD, "item": GOOD["item"] - 99}, {}, "received ids from -"),
        ({**GOOD, "label": GOOD["label"] * np.nan}, {}, "6 values that are NaN or infinite"),
        ({**GOOD, "label": np.float64(GOOD["label"]) * 1e300}, {}, "fit in float32"),
        ({**GOOD, "label": GOOD["label"].astype(str)}, {}, "must hold numbers; received <U"),
        ([1, 2], {}, "dict of numpy arrays by name; received list"),
        (GOOD, {"batch_size": 0}, "batch_size must be an integer of at least 1; received 0"),
        (GOOD, {"batch_size": 2.5}, "batch_size must be an integer"),
        (GOOD, {"seed": -1}, "seed must be an integer of at least 0; received -1"),
        (GOOD, {"batch_size": 7, "drop_remainder": True}, "leaves nothing of 6 rows.*takes 7"),
    ],
)
def test_bad_columns_and_arguments(columns, options, message):
    with pytest.raises(ValueError, match=message):
        pointwise(columns, SCHEMA, **{"batch_size": 4, **options})


@pytest.mark.parametrize(
    ("make", "columns", "options", "message"),
    [
        (
            pointwise,
            {**GOOD, "importance": -GOOD["importance"]},
            {"weight": "importance"},
            "weights",
        ),
        (pointwise, GOOD, {"weight": "importances"}, "expected a column 'importances'"),
        (with_negatives, GOOD, {"batch_size": 4}, "at least 1 \\+ negatives = 5; received 4"),
        (with_negatives, GOOD, {"negatives": -1}, "negatives must be an integer of at least 0"),
        (with_negatives, GOOD, {"batch_size": 0}, "batch_size must be an integer of at least 1"),
        (shared_negatives, GOOD, {"negatives": 0}, "negatives must be an integer of at least 1"),
        (with_negatives, GOOD, {"seen": GOOD, "allow_seen": True}, "Pass one of the two"),
        (
            with_negatives,
            {**GOOD, "label": GOOD["label"] * 0},
            {},
            "none of 6 rows has a 'label' >0",
        ),
        (with_negatives, GOOD, {"seen": {"user": GOOD["user"]}}, "expected a column 'item'"),
        (with_negatives, GOOD, {"popularity": np.ones(3)}, "popularity needs 48 numbers"),
        (histories, GOOD, {}, "expected a schema with a sequence of 'item'"),
    ],
)
def test_bad_arguments_of_the_others(make, columns, options, message):
    with pytest.raises(ValueError, match=message):
        make(columns, SCHEMA, **{"batch_size": 20, **options})


# --- real data ---


def test_ncf_movielens_1m_never_draws_a_training_pair():
    folder = pathlib.Path(os.environ.get("KERASREC_DATA", "")) / "ncf-ml-1m"
    path = folder / "ml-1m.train.pairs.tsv.gz"
    if not path.is_file():
        pytest.skip("set KERASREC_DATA to a folder with ncf-ml-1m to run this")
    with gzip.open(path) as file:
        pairs = np.loadtxt(file, dtype=np.int32, delimiter="\t") + 2
    columns = {"user": pairs[:, 0], "item": pairs[:, 1]}
    schema = Schema(user=[Categorical("user", 6042)], item=[Categorical("item", 3708)])
    dataset = with_negatives(columns, schema, batch_size=8192, negatives=4)
    seen = np.zeros((6042, 3708), bool)
    seen[columns["user"], columns["item"]] = True
    rows = positives = 0
    for features, label in dataset.as_numpy_iterator():
        taken = seen[features["user"][:, None], features["item"]]
        np.testing.assert_array_equal(taken, label == 1)
        rows, positives = rows + label.size, positives + int(label.sum())
    assert (rows, positives) == (5 * 994_169, 994_169)
