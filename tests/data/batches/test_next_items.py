"""Next items: each user's steps once a pass, targets one step later, ties in the file's order."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import add_history, next_items, next_labels
from kerasrec.schema import Categorical, IdSequence, Numeric, NumericSequence, Schema


def schema_of(length, num_users=9):
    return Schema(
        user=[Categorical("user", num_users), IdSequence("history", of="item", max_length=length)],
        item=[Categorical("item", 500)],
    )


def rows(*values):
    user, item, time = np.array(values).T
    return {"user": user.astype(np.int32), "item": item.astype(np.int32), "timestamp": time}


def batches(dataset):
    """History, place and target of a pass."""
    found = list(dataset)
    assert len(found) == int(dataset.cardinality())
    parts = [(f["history"].numpy(), f["position"].numpy(), t.numpy()) for f, t in found]
    assert len({part[0].shape for part in parts}) == 1
    return [np.concatenate(some) for some in zip(*parts, strict=True)]


def sequences(dataset):
    """(inputs, targets) of each sequence."""
    found = []
    for history, position, target in zip(*batches(dataset), strict=True):
        real = history > 0
        assert not position[~real].any() and not target[~real].any()
        starts = np.flatnonzero(real & (position == 0))
        for begin, end in zip(starts, np.append(starts, real.sum())[1:], strict=True):
            assert position[begin:end].tolist() == list(range(end - begin))
            found.append((history[begin:end].tolist(), target[begin:end].tolist()))
    return found


def test_ties_keep_the_order_of_the_file_and_the_newest_steps_are_kept():
    columns = rows((2, 10, 5), (3, 20, 5), (2, 11, 5), (2, 12, 4), (2, 13, 6), (3, 21, 5))
    found = sequences(next_items(columns, schema_of(2), batch_size=2, shuffle=False))
    assert sorted(found) == [([10, 11], [11, 13]), ([20], [21])]
    unsorted = sequences(next_items(columns, schema_of(9), batch_size=2, time=None))
    assert ([10, 11, 12], [11, 12, 13]) in unsorted


def test_the_last_target_alone():
    columns = rows((2, 10, 1), (2, 11, 2), (2, 12, 3), (3, 20, 1), (3, 21, 2), (4, 30, 1))
    found = sequences(next_items(columns, schema_of(4), batch_size=1, targets="last"))
    assert sorted(found) == [([10, 11], [0, 12]), ([20], [21])]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=7).filter(lambda n: max(n) > 1),
    st.integers(1, 6),
    st.integers(1, 3),
    st.booleans(),
)
def test_every_user_once_a_pass_and_nothing_else(counts, length, batch_size, together):
    users = np.repeat(np.arange(len(counts)) + 2, counts)
    items = np.arange(len(users), dtype=np.int32) + 2
    columns = {"user": users.astype(np.int32), "item": items}
    dataset = next_items(
        columns, schema_of(length), batch_size=batch_size, time=None, pack_rows=together
    )
    wanted = []
    for user in np.unique(users):
        mine = items[users == user].tolist()[-length - 1 :]
        if len(mine) > 1:
            wanted.append((mine[:-1], mine[1:]))
    first, second = sequences(dataset), sequences(dataset)
    assert sorted(first) == sorted(second) == wanted
    if not together:
        assert len(batches(dataset)[0]) == -(-len(wanted) // batch_size) * batch_size


def test_older_windows_begin_anew_and_the_oldest_is_the_short_one():
    columns = rows(*((2, 10 + step, step) for step in range(6)), (3, 20, 0), (3, 21, 1))
    dataset = next_items(columns, schema_of(2), batch_size=1, windows="all", shuffle=False)
    assert sorted(sequences(dataset)) == [
        ([10], [11]),
        ([11, 12], [12, 13]),
        ([13, 14], [14, 15]),
        ([20], [21]),
    ]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=7).filter(lambda n: max(n) > 1),
    st.integers(1, 6),
    st.booleans(),
)
def test_all_windows_have_every_step_once(counts, length, together):
    users = np.repeat(np.arange(len(counts)) + 2, counts)
    items = np.arange(len(users), dtype=np.int32) + 2
    columns = {"user": users.astype(np.int32), "item": items}
    options = {"batch_size": 2, "time": None, "pack_rows": together}
    found = sequences(next_items(columns, schema_of(length), windows="all", **options))
    steps = [step for known, told in found for step in zip(known, told, strict=True)]
    wanted = [
        step
        for user in np.unique(users)
        for step in itertools.pairwise(items[users == user].tolist())
    ]
    assert sorted(steps) == wanted
    newest = sequences(next_items(columns, schema_of(length), **options))
    assert all(sequence in found for sequence in newest)


def test_passes_differ_and_a_seed_repeats_them():
    users = np.repeat(np.arange(2, 60), 4).astype(np.int32)
    columns = {"user": users, "item": np.arange(len(users), dtype=np.int32) + 2}

    def make(seed=0, **options):
        return next_items(columns, schema_of(10, 60), batch_size=4, time=None, seed=seed, **options)

    one, two = make(), make()
    passes = [batches(one)[0], batches(one)[0]]
    assert not np.array_equal(*passes)
    assert np.array_equal(passes[0], batches(two)[0])
    assert np.array_equal(passes[1], batches(two)[0])
    assert not np.array_equal(passes[0], batches(make(seed=1))[0])
    still = make(shuffle=False)
    assert np.array_equal(batches(still)[0], batches(still)[0])


def test_packed_rows_hold_less_padding():
    counts = np.random.default_rng(0).integers(2, 42, 300)
    users = np.repeat(np.arange(len(counts)) + 2, counts).astype(np.int32)
    columns = {"user": users, "item": np.ones(len(users), np.int32) * 7}
    schema = schema_of(40, 310)
    padding = {
        together: (
            batches(next_items(columns, schema, batch_size=8, time=None, pack_rows=together))[0]
            == 0
        ).mean()
        for together in (True, False)
    }
    assert padding[True] < 0.05 < 0.4 < padding[False]


def test_bad_input():
    columns = rows((2, 10, 1), (3, 11, 2))
    with pytest.raises(ValueError, match="no user has the two rows"):
        next_items(columns, schema_of(3), batch_size=1)
    columns = rows((2, 10, 1), (2, 11, 2))
    with pytest.raises(ValueError, match="one of 'all', 'last'; received 'first'"):
        next_items(columns, schema_of(3), batch_size=1, targets="first")
    with pytest.raises(ValueError, match="one of 'newest', 'all'; received 'older'"):
        next_items(columns, schema_of(3), batch_size=1, windows="older")
    with pytest.raises(ValueError, match="windows='all' adds steps that targets='last'"):
        next_items(columns, schema_of(3), batch_size=1, windows="all", targets="last")
    with pytest.raises(ValueError, match=r"batch_size .*received 0"):
        next_items(columns, schema_of(3), batch_size=0)
    with pytest.raises(ValueError, match="date"):
        next_items(columns, schema_of(3), batch_size=1, time="date")
    with pytest.raises(ValueError, match="max_length=50"):
        next_items(columns, Schema(Categorical("user", 4), Categorical("item", 20)), batch_size=1)


LABELLED = Schema(
    user=[
        Categorical("user", 9),
        IdSequence("history", of="item", max_length=3),
        NumericSequence("ratings", of="rating", max_length=3),
    ],
    item=[Categorical("item", 500), Numeric("year")],
    context=[Numeric("where", size=2)],
    label="rating",
)


def labelled(values):
    columns = rows(*values)
    columns["rating"] = (columns["item"] % 5).astype(np.float32)
    columns["year"] = columns["item"] * 2.0
    columns["where"] = np.stack([columns["timestamp"], -columns["timestamp"]], axis=1) * 1.0
    return columns


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(
        st.tuples(st.integers(2, 4), st.integers(2, 99), st.integers(0, 9)), min_size=2, max_size=20
    ),
    pack_rows=st.booleans(),
)
def test_a_step_knows_what_the_history_of_the_next_row_knows(values, pack_rows):
    columns = labelled([*values, (5, 7, 1), (5, 8, 2)])
    dataset = next_labels(columns, LABELLED, batch_size=2, pack_rows=pack_rows)
    found = []
    for features, label, weight in dataset:
        arrays = {name: tensor.numpy() for name, tensor in features.items()}
        assert set(arrays) == {*(f.name for f in LABELLED.features), "position"}
        for row, step in zip(*np.nonzero(weight.numpy()), strict=True):
            begin = step - arrays["position"][row, step]
            known = [arrays[n][row, begin : step + 1].tolist() for n in ("history", "ratings")]
            told = [arrays[n][row, step].tolist() for n in ("user", "item", "year", "where")]
            found.append((*known, *told, float(label[row, step])))
        outside = weight.numpy() == 0
        assert not any(array[outside].any() for array in arrays.values())
        assert not label.numpy()[outside].any()
    with_history = add_history(columns, LABELLED, min_history=1)
    expected = []
    # Of each user the newest 3 steps; the first of them begins a history.
    last = {user: sum(with_history["user"] == user) for user in set(with_history["user"].tolist())}
    for row in np.lexsort((with_history["timestamp"], with_history["user"])):
        user = int(with_history["user"][row])
        last[user] -= 1
        if last[user] >= 3:
            continue
        length = min(int(with_history["history"].lengths[row]), 3 - last[user])
        one = np.array([row])
        history, ratings = (with_history[n][one][0] for n in ("history", "ratings"))
        real = int((history > 0).sum())
        expected.append((
            history[real - length : real].tolist(), ratings[real - length : real].tolist(), user,
            *(with_history[n][row].tolist() for n in ("item", "year", "where", "rating")),
        ))  # fmt: skip
    assert sorted(found) == sorted(expected)


def test_older_windows_and_weights_of_labels():
    schema = Schema(
        user=[Categorical("user", 9), IdSequence("history", of="item", max_length=2)],
        item=[Categorical("item", 500)],
    )
    columns = rows(*((2, 10 + step, step) for step in range(6)))
    columns |= {"label": np.arange(6.0), "share": np.array([0, 0, 1, 1, 0, 2.0])}
    options = {"batch_size": 3, "shuffle": False, "pack_rows": False}

    def found(**more):
        ((features, label, weight),) = next_labels(columns, schema, **options, **more)
        real = features["history"].numpy() > 0
        pairs = zip(label.numpy()[real].tolist(), weight.numpy()[real].tolist(), strict=True)
        return sorted(pairs)

    assert found() == [(4, 1), (5, 1)]
    assert found(windows="all") == [(label, 1) for label in range(1, 6)]
    weighted = [(1, 0), (2, 1), (3, 1), (4, 0), (5, 2)]
    assert found(windows="all", weight="share") == weighted
    with pytest.raises(ValueError, match="next_labels: windows must be .*received 'some'"):
        found(windows="some")
    columns["share"][0] = -1
    with pytest.raises(ValueError, match="weights must be at least 0"):
        found(weight="share")


def test_histories_of_labels_have_one_length():
    context = [NumericSequence("other", of="rating", max_length=4)]
    schema = dataclasses.replace(LABELLED, context=context)
    with pytest.raises(ValueError, match=r"one max_length; received .*'history': 3.*'other': 4"):
        next_labels(labelled([(2, 3, 1), (2, 4, 2)]), schema, batch_size=1)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=9), min_size=1, max_size=6),
    st.integers(1, 5),
    st.booleans(),
)
def test_targets_are_the_positives_that_have_something_before_them(labels, length, together):
    columns = rows(*(
        (2 + user, 10 * (user + 1) + step, step)
        for user, given in enumerate(labels) for step in range(len(given))
    ), (8, 99, 0))  # fmt: skip
    columns["label"] = np.array([x for given in labels for x in given] + [1], np.float32)
    options = {"batch_size": 2, "windows": "all", "pack_rows": together}
    expected = sorted(
        10 * (user + 1) + step
        for user, given in enumerate(labels)
        for step, label in enumerate(given)
        if step and label > 0
    )
    if not expected:
        with pytest.raises(ValueError, match="so none is a positive|no user has the two rows"):
            next_items(columns, schema_of(length), **options)
        return
    found = sequences(next_items(columns, schema_of(length), **options))
    assert sorted(t for _, targets in found for t in targets if t) == expected
    for history, target in found:  # what was seen stays, and is followed by the very next row
        assert history == list(range(history[0], history[0] + len(history)))
        assert all(t in (0, item + 1) for item, t in zip(history, target, strict=True))


def test_the_newest_item_is_a_target_where_it_is_a_positive():
    columns = rows((2, 10, 1), (2, 11, 2), (2, 12, 3), (3, 20, 1), (3, 21, 2))
    columns["label"] = np.array([1, 1, 0, 1, 1], np.float32)
    found = sequences(next_items(columns, schema_of(4), batch_size=1, targets="last"))
    assert sorted(found) == [([10, 11], [0, 0]), ([20], [21])]
    columns["label"][-1] = 0
    with pytest.raises(ValueError, match="targets: none of 2 rows has a 'label' >0"):
        next_items(columns, schema_of(4), batch_size=1, targets="last")
