"""Export: signatures, answers, refusals, and what a failure leaves behind."""

import errno
import json
import logging
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import Vocabulary
from kerasrec.models import MatrixFactorization
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.schema import Categorical, Schema
from kerasrec.serving import export, list_versions, load


def expected_ranking(case, user, exclude=()):
    """(raw item, score) pairs from plain predictions, best first, then by encoded id."""
    users, items = case.vocabularies["user"], case.vocabularies["item"]
    encoded = np.arange(2, items.num_ids)
    inputs = {"user": users.encode([user] * len(encoded)), "item": encoded}
    scores = case.model.predict(inputs, verbose=0)
    order = np.argsort(-scores, kind="stable")
    pairs = [(items.ids[place], scores[place]) for place in order]
    return [(raw, score) for raw, score in pairs if raw not in exclude]


@pytest.mark.parametrize(
    "kind, user_dtype, item_dtype",
    [
        ("mf", "string", "string"),
        ("mf", "int64", "int64"),
        ("popularity", "string", "int64"),
        ("mlp", "int64", "string"),
    ],
)
def test_answers_are_those_of_plain_predictions(exported, kind, user_dtype, item_dtype):
    case, served = exported(kind, user_dtype, item_dtype)
    users, items = case.vocabularies["user"].ids, case.vocabularies["item"].ids

    scores = served.score({"user": users, "item": items[:5]})
    encoded = {
        "user": case.vocabularies["user"].encode(users),
        "item": case.vocabularies["item"].encode(items[:5]),
    }
    np.testing.assert_allclose(scores, case.model.predict(encoded, verbose=0), atol=1e-5)

    nothing = {"string": ["", "not an item"], "int64": [-1, 2**62]}[item_dtype]
    exclude = [[*items[row : row + 3], *nothing] for row in range(len(users))]
    for banned, answer in (
        ([[]] * len(users), served.recommend({"user": users})),
        (exclude, served.recommend({"user": users}, exclude=exclude)),
    ):
        assert not answer.fallback.any()
        for user, row, without in zip(users, answer.rows(), banned, strict=True):
            expected = expected_ranking(case, user, without)
            assert [raw for raw, _ in row] == [raw for raw, _ in expected]
            np.testing.assert_allclose(
                [score for _, score in row], [score for _, score in expected], atol=1e-5
            )


def test_signatures_carry_the_names_shapes_and_types_of_the_schema(features_export):
    loaded = tf.saved_model.load(str(features_export[1].path))
    query = {
        "age": ((None,), "float32"),
        "user": ((None,), "string"),
        "history": ((None, None), "int64"),  # any width
        "tags": ((None, 2), "string"),
        "place": ((None, 2), "float32"),
        "device": ((None,), "int64"),
        "hour": ((None,), "float32"),
    }
    item = {"item": ((None,), "int64")}  # all else is stored

    def described(specs):
        return {
            name: (tuple(spec.shape.as_list()), spec.dtype.name) for name, spec in specs.items()
        }

    score, recommend = (loaded.signatures[name] for name in ("serving_default", "recommend"))
    assert described(score.structured_input_signature[1]) == {**query, **item}
    assert described(score.structured_outputs) == {"score": ((None,), "float32")}
    assert described(recommend.structured_input_signature[1]) == {
        **query,
        "exclude": ((None, None), "int64"),
    }
    assert described(recommend.structured_outputs) == {
        "item_id": ((None, 5), "int64"),
        "score": ((None, 5), "float32"),
        "fallback": ((None,), "bool"),
        "count": ((None,), "int32"),
    }


def test_features_of_all_kinds_and_only_the_given_candidates(features_export):
    case, served = features_export
    items = case.vocabularies["item"]
    query = {
        "age": [0.5, -1.0],
        "user": ["ann", "né-用户-🙂"],
        "history": [[2**40, 3], [5]],  # 5 is unknown
        "tags": [["y", "?"], []],
        "place": [[1.0, 2.0], [0.0, 0.0]],
        "device": [10, 99],
        "hour": [1.0, 2.0],
    }
    answer = served.recommend(query)
    encoded = {
        "age": np.array([0.5, -1.0]),
        "user": np.array([2, 5]),
        "history": np.array([[2, 4, 0], [1, 0, 0]]),
        "tags": np.array([[3, 1], [0, 0]]),
        "place": np.array([[1.0, 2.0], [0.0, 0.0]]),
        "device": np.array([3, 1]),
        "hour": np.array([1.0, 2.0]),
    }
    ids = np.sort(case.candidates)
    listed = {"item": ids, **{name: column[ids] for name, column in case.items.items()}}
    columns = {name: np.stack([column] * 2) for name, column in listed.items()}
    scores = np.asarray(case.model({**encoded, **columns}))
    for row in range(2):
        order = np.argsort(-scores[row])
        assert answer.item_id[row].tolist() == items.decode(columns["item"][row, order]).tolist()
        np.testing.assert_allclose(answer.score[row], scores[row, order], atol=1e-5)
    pair = {**{name: value[:1] for name, value in query.items()}, "item": items.decode(ids[:1])}
    np.testing.assert_allclose(served.score(pair), scores[0, :1], atol=1e-5)


@pytest.mark.parametrize("kind, user_dtype", [("mf", "int64"), ("popularity", "string")])
def test_unknown_users_get_the_most_popular_items(exported, kind, user_dtype):
    case, served = exported(kind, user_dtype, "int64")
    # Counts 1, 5, 3, 3, 4, 1, 2 of the ids below; equal counts in the order of the vocabulary.
    assert case.vocabularies["item"].ids.tolist() == [2**40, 0, 3, 2**63 - 1, 9, 10, 11]
    ranking = [(0, 5.0), (9, 4.0), (3, 3.0), (2**63 - 1, 3.0), (11, 2.0), (2**40, 1.0), (10, 1.0)]
    known = case.vocabularies["user"].ids[0]
    users = {"string": ["who?", known, "", "ANN"], "int64": [4, known, -1, 2**62]}[user_dtype]
    answer = served.recommend({"user": users}, exclude=[[], [], [0, -1, 999], []])
    assert answer.fallback.tolist() == [True, False, True, True]
    assert answer.rows()[0] == answer.rows()[3] == ranking
    assert answer.rows()[2] == ranking[1:]
    expected = [raw for raw, _ in expected_ranking(case, known)]
    assert [raw for raw, _ in answer.rows()[1]] == expected


@pytest.mark.parametrize("kind", ["mf", "mlp"])
def test_slots_without_items_are_padded_and_not_counted(exported, kind):
    case, served = exported(kind, "string" if kind == "mf" else "int64", "string")
    items = case.vocabularies["item"].ids.tolist()
    known = case.vocabularies["user"].ids[0]
    unknown = "?" if kind == "mf" else 1
    exclude = [items, items[1:], items[:-2]]
    answer = served.recommend({"user": [known, known, unknown]}, exclude=exclude)
    assert answer.count.tolist() == [0, 1, 2]
    assert answer.item_id[0].tolist() == [""] * 7
    assert answer.item_id[1].tolist() == [items[0], *[""] * 6]
    assert answer.score[0].tolist() == [LOWEST_SCORE] * 7
    assert answer.rows()[2] == [(items[6], 2.0), (items[5], 1.0)]
    assert answer.rows()[0] == []


def test_an_empty_batch_is_answered(mf_version):
    answer = load(mf_version[0]).recommend({"user": []}, exclude=np.empty((0, 2), object))
    assert answer.item_id.shape == (0, 7)


def test_two_versions_in_one_process_keep_their_vocabularies(tmp_path, make_case):
    case = make_case("popularity", "string", "string")
    first = case.export(tmp_path)
    items = case.vocabularies["item"]
    other = {**case.vocabularies, "item": Vocabulary(items.ids[::-1], items.counts[::-1])}
    second = export(case.model, tmp_path, vocabularies=other, k=3)
    answers = [load(path).recommend({"user": ["ann"]}).item_id[0, 0] for path in (first, second)]
    assert answers == [items.ids[2], items.ids[4]]  # encoded id 4, counted from either end


def test_mixed_precision_is_served_in_float32(tmp_path):
    schema = Schema(user=Categorical("user", 4), item=Categorical("item", 5))
    model = MatrixFactorization(schema, stddev=1.0, dtype="mixed_bfloat16")
    vocabularies = {"user": Vocabulary.fit([1, 2]), "item": Vocabulary.fit([5, 6, 7])}
    served = load(export(model, tmp_path, vocabularies=vocabularies, k=1))
    exact = MatrixFactorization(schema)
    exact.set_weights(model.get_weights())
    inputs = {"user": np.array([2, 3]), "item": np.array([4, 2])}
    np.testing.assert_allclose(
        served.score({"user": [1, 2], "item": [7, 5]}), np.asarray(exact(inputs)), atol=1e-5
    )
    assert model.compute_dtype == "bfloat16"


def test_the_model_and_the_loggers_are_left_as_they_were(tmp_path, make_case, capfd):
    case = make_case("mf")
    case.model.compile(optimizer="adam", loss="mse")
    before = [weight.copy() for weight in case.model.get_weights()]
    level = logging.getLogger("tensorflow").level
    case.export(tmp_path)
    assert logging.getLogger("tensorflow").level == level
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    for old, new in zip(before, case.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    case.model.fit({"user": np.array([2]), "item": np.array([2])}, np.array([1.0]), verbose=0)


def test_what_lies_beside_the_graph(mf_version):
    path, case = mf_version
    assert Schema.from_json((path / "schema.json").read_text("utf-8")) == case.model.schema
    assets = {file.name: file.read_text("utf-8") for file in (path / "assets").iterdir()}
    assert assets["user.txt"].split("\n") == [*case.vocabularies["user"].ids, ""]
    assert set(assets) == {"user.txt", "item.txt"}
    graph_bytes = (path / "saved_model.pb").read_bytes()
    assert str(path.parent).encode() not in graph_bytes and b".export" not in graph_bytes
    recorded = json.loads((path / "assets.extra" / "requests.json").read_text("utf-8"))
    assert recorded["options"]["ks"] == [7]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vocabularies": {}}, r"needs the vocabularies \['user', 'item'\].*missing"),
        ({"vocabularies": 3}, "must be a dict of feature name"),
        ({"item": Vocabulary.fit(["a", "b"])}, "for 'item': the model has 9 ids, the vocab.* 4"),
        ({"item": ["a"]}, "must be a kerasrec.data.Vocabulary; received list"),
        ({"k": 8}, "from 1 to 7; received 8. The catalogue has 7 items"),
        ({"k": 0}, "received 0"),
        ({"k": (3, 9)}, "from 1 to 7; received 9"),
        ({"k": (3, 3)}, "several different ones"),
        ({"signatures": ["recomend"]}, "has the signatures .*'similar_items'.*received"),
        ({"signatures": []}, "Name some of them, or pass None"),
        ({"version": "1"}, "version must be an integer"),
        ({"candidates": {}}, "Features of items go into items="),
        ({"candidates": np.array([2, 3, 2])}, "every item once"),
        ({"candidates": np.array([1, 3, 4])}, "ids from 2 to 8; received 1 to 4"),
        ({"candidates": np.array(["a"])}, "must be the encoded ids"),
        ({"candidates": np.array([4, 3])}, "from 1 to 2; received 3"),
        ({"users": {"user": np.arange(6)}}, "users must have one row for each .* 0 to 6"),
        ({"model": "model"}, "must be a Keras model with a `schema`.*received str"),
        ({"model": keras.Sequential()}, "received Sequential"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, make_case, change, message
):
    case = make_case("mf")
    arguments = {"model": case.model, "vocabularies": case.vocabularies, "k": 3}
    if "item" in change:
        arguments["vocabularies"] = {**case.vocabularies, **change}
    else:
        arguments.update(change)
    with pytest.raises(ValueError, match=message):
        export(arguments.pop("model"), tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (None, r"items must hold the columns \['genres', 'vector'\] of every item"),
        ({"vector": np.zeros((4, 2))}, "one row for each of the 9 encoded ids"),
        ({"vector": np.full((9, 2), np.inf)}, "holds an infinite number"),
        ({"genres": np.full((9, 2), 6)}, "ids from 0 to 5; received 6 to 6"),
    ],
)
def test_the_table_must_describe_the_items(tmp_path, make_case, change, message):
    case = make_case("features")
    items = None if change is None else {**case.items, **change}
    with pytest.raises(ValueError, match=message):
        case.export(tmp_path, items=items)


@pytest.mark.parametrize("name", ["user id", "é", "_user", "class", "self", "exclude", "1st"])
def test_names_that_cannot_be_served_are_refused(tmp_path, name):
    schema = Schema(user=Categorical(name, 4), item=Categorical("item", 5))
    vocabularies = {name: Vocabulary.fit([1, 2]), "item": Vocabulary.fit([5, 6, 7])}
    with pytest.raises(ValueError, match="Rename"):
        export(MatrixFactorization(schema), tmp_path, vocabularies=vocabularies, k=1)


def test_odd_names_that_can_be_served_are(tmp_path):
    names = {"inputs": 4, "args": 4}
    schema = Schema(user=Categorical("inputs", 4), item=Categorical("args", 4))
    vocabularies = {name: Vocabulary.fit([1, 2]) for name in names}
    path = export(MatrixFactorization(schema), tmp_path, vocabularies=vocabularies, k=1)
    assert load(path).score({"inputs": [1], "args": [2]}).shape == (1,)


def test_a_diverged_model_is_refused(tmp_path, make_case):
    case = make_case("mf")
    case.model.global_bias.assign([np.nan])
    with pytest.raises(ValueError, match="'.*global_bias' holds NaN or infinity. Training diver"):
        case.export(tmp_path)


def test_a_version_is_never_overwritten(mf_version):
    path, case = mf_version
    before = (path / "saved_model.pb").read_bytes()
    with pytest.raises(ValueError, match="version 1 exists"):
        case.export(path.parent, version=1)
    assert (path / "saved_model.pb").read_bytes() == before


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "out of space\nstack"),
    ],
)
def test_a_disk_that_refuses_is_told_in_one_sentence(mf_version, monkeypatch, error):
    path, case = mf_version

    def refuse(*args, **kwargs):
        pathlib.Path(args[1], "half").touch()
        raise error

    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(ValueError, match="could not be written: (No|out of) space.*Nothing.*1"):
        case.export(path.parent)
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".export.lock", "1"]
    monkeypatch.undo()
    assert load(path.parent).path == path


EXPORTER = textwrap.dedent(
    """
    import os, resource, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from kerasrec.data import Vocabulary
    from kerasrec.models import MatrixFactorization
    from kerasrec.schema import Categorical, Schema
    from kerasrec.serving import export

    directory, largest_file = sys.argv[1], int(sys.argv[2])
    schema = Schema(user=Categorical("user", 1002), item=Categorical("item", 5))
    model = MatrixFactorization(schema, embedding_dim=64)
    vocabularies = {"user": Vocabulary.fit(range(1000)), "item": Vocabulary.fit(range(3))}
    export(model, directory, vocabularies=vocabularies, k=2)
    print("wrote", flush=True)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        try:
            export(model, directory, vocabularies=vocabularies, k=2)
        except ValueError as error:
            print(error)
        raise SystemExit
    while True:
        export(model, directory, vocabularies=vocabularies, k=2)
    """
)


def test_a_full_disk_leaves_the_old_version_alone(tmp_path):
    """The weights need 260 kB; the system refuses every byte of a file beyond 100 kB."""
    run = subprocess.run(
        [sys.executable, "-c", EXPORTER, str(tmp_path), "100000"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be written" in run.stdout and "the versions [1]" in run.stdout
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".export.lock", "1"]
    assert load(tmp_path).score({"user": [5], "item": [1]}).shape == (1,)


def test_kill_9_in_the_middle_leaves_the_old_versions_alone(tmp_path, make_case):
    rng = random.Random(0)
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", EXPORTER, str(tmp_path), "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout.readline() == b"wrote\n"
            time.sleep(rng.uniform(0.1, 1.0))
            process.send_signal(signal.SIGKILL)
        for version in list_versions(tmp_path):
            assert load(tmp_path / str(version)).recommend({"user": [5]}).count.tolist() == [2]
    last = max(list_versions(tmp_path))
    assert make_case("mf").export(tmp_path).name == str(last + 1)
    assert not list(tmp_path.glob(".export-*"))
