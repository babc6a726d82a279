"""Lists from raw ids in Python: against a sort of all scores, and against the export."""

import numpy as np
import pyarrow as pa
import pytest

from kerasrec import serving
from kerasrec.data import Interactions, Vocabulary, prepare
from kerasrec.models import (
    EmbeddingMLP,
    MatrixFactorization,
    Popularity,
    SASRec,
    StackedLSTMClassifier,
)
from kerasrec.retrieval import MaximalMarginalRelevance, recommend, similar_items
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.schema import Bag, Categorical, Numeric, Schema

USERS = [f"u{n}" for n in range(1, 9)]


@pytest.fixture(scope="module")
def ready():
    """Eight users with 2 to 9 rows of 12 items, the newest last, with histories of 4."""
    rng = np.random.default_rng(0)
    rows = [(user, item) for n, user in enumerate(USERS) for item in rng.permutation(12)[: n + 2]]
    users, items = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": np.array(items), "timestamp": range(len(rows))})
    return prepare(Interactions.from_table(table, label=None), history=4)


def made(kind, ready):
    if kind is Popularity:
        model = Popularity(ready.schema)
        model.adapt(ready.train)
        return model
    more = {"hidden_units": (8,)} if kind in (EmbeddingMLP, StackedLSTMClassifier) else {}
    return kind(ready.schema, embedding_dim=8, **more)


def sorted_lists(model, ready, user, exclude):
    """Items and scores by calling the model on all pairs."""
    seen = ready.seen()
    one = ready.vocabularies["user_id"].encode([user])
    mine = seen["item_id"][seen["user_id"] == one[0]]
    history = np.zeros((1, 4), np.int32)
    history[0, : len(mine[-4:])] = mine[-4:]
    ids = np.arange(2, ready.schema.item_id.num_ids)
    inputs = {"user_id": one, "history": history, "item_id": ids[None]}
    scores = np.asarray(model(inputs, training=False))[0]
    left = np.flatnonzero(~np.isin(ids, mine) | (not exclude))
    order = left[np.argsort(-scores[left], kind="stable")]
    return ready.vocabularies["item_id"].decode(ids[order]).tolist(), scores[order]


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize(
    "kind", [MatrixFactorization, SASRec, EmbeddingMLP, StackedLSTMClassifier, Popularity]
)
def test_lists_are_those_of_all_scores_sorted(kind, exclude, ready):
    model = made(kind, ready)
    found = recommend(
        model, ready.vocabularies, USERS[::-1], 9, seen=ready.seen(), exclude_seen=exclude
    )
    assert not found.fallback.any()
    for user, row, count in zip(USERS[::-1], found.rows(), found.count, strict=True):
        items, scores = sorted_lists(model, ready, user, exclude)
        assert [item for item, _ in row] == items[:9]
        np.testing.assert_allclose([score for _, score in row], scores[:9], rtol=1e-5, atol=1e-6)
        assert count == min(9, len(items))
    assert isinstance(found.rows()[0][0][0], int)
    empty = np.arange(9) >= found.count[:, None]
    assert (found.item_id[empty] == -1).all() and (found.score[empty] == LOWEST_SCORE).all()


@pytest.mark.parametrize("kind", [MatrixFactorization, SASRec, EmbeddingMLP])
def test_lists_are_those_of_the_export(kind, ready, tmp_path):
    model = made(kind, ready)
    served = serving.load(
        serving.export(model, tmp_path / "m", vocabularies=ready.vocabularies, k=5)
    )
    asked = [*USERS, "nobody"]
    seen = ready.seen()
    decode = ready.vocabularies["item_id"].decode
    ids = ready.vocabularies["user_id"].encode(asked)
    own = [decode(seen["item_id"][seen["user_id"] == one]).tolist() for one in ids]
    queries = {"user_id": asked, "history": [items[-4:] for items in own]}
    read = {feature.name for feature in model.schema.query}
    expected = served.recommend({n: v for n, v in queries.items() if n in read}, exclude=own)
    found = recommend(model, ready.vocabularies, asked, 5, seen=seen)
    np.testing.assert_array_equal(found.item_id, expected.item_id)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.count, expected.count)
    assert found.fallback.tolist() == expected.fallback.tolist() == [False] * 8 + [True]


def test_a_pipeline_makes_its_own_lists(ready, tmp_path):
    pipeline = serving.Pipeline(
        made(MatrixFactorization, ready),
        made(EmbeddingMLP, ready),
        MaximalMarginalRelevance(0.3),
        retrieve=6,
    )
    path = serving.export(pipeline, tmp_path / "m", vocabularies=ready.vocabularies, k=4)
    asked = ["u8", "nobody", "u3"]
    seen, ids = ready.seen(), ready.vocabularies["user_id"].encode(asked)
    decode = ready.vocabularies["item_id"].decode
    own = [decode(seen["item_id"][seen["user_id"] == one]).tolist() for one in ids]
    queries = {"user_id": asked, "history": [items[-4:] for items in own]}
    expected = serving.load(path).recommend(queries, exclude=own)
    found = recommend(pipeline, ready.vocabularies, asked, 4, seen=seen)
    np.testing.assert_array_equal(found.item_id, expected.item_id)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-5, atol=1e-6)
    assert found.count.tolist() == expected.count.tolist()
    assert found.fallback.tolist() == expected.fallback.tolist() == [False, True, False]


def test_unknown_users_get_popular_items_and_are_marked(ready):
    model = made(MatrixFactorization, ready)
    seen = [ready.seen(), {"user_id": np.array([1]), "item_id": np.array([2])}]
    found = recommend(model, ready.vocabularies, ["nobody", "u1", "?"], 12, seen=seen)
    assert found.fallback.tolist() == [True, False, True]
    vocabulary = ready.vocabularies["item_id"]
    order = np.argsort(-vocabulary.counts, kind="stable")
    assert found.item_id[0].tolist() == found.item_id[2].tolist() == vocabulary.ids[order].tolist()
    assert found.score[0].tolist() == vocabulary.counts[order].tolist()


def test_the_lists_do_not_depend_on_the_block(ready, monkeypatch):
    model = made(SASRec, ready)
    whole = recommend(model, ready.vocabularies, USERS, 5, seen=ready.seen())
    monkeypatch.setattr("kerasrec.retrieval._recommend._VALUES", 11)  # two queries of 1 + 4 numbers
    parts = recommend(model, ready.vocabularies, USERS, 5, seen=ready.seen())
    assert whole.rows() == [
        [(item, pytest.approx(score, rel=1e-5)) for item, score in row] for row in parts.rows()
    ]


def test_histories_and_other_features_can_be_passed(ready):
    """A new user of a model of histories is known by the history; new items by their features."""
    model = made(SASRec, ready)
    histories = {"history": np.array([[3, 4, 0, 0], [0, 0, 0, 0]])}
    found = recommend(model, ready.vocabularies, ["new", "other"], 3, queries=histories)
    assert found.fallback.tolist() == [False, True]

    schema = Schema(
        user=Categorical("user", 4),
        item=(Categorical("item", 5), Bag("tags", 4, 2)),
        context=Numeric("hour"),
    )
    vocabularies = {"user": Vocabulary.fit(["a", "b"]), "item": Vocabulary.fit([7, 8, 9])}
    mlp = EmbeddingMLP(schema, embedding_dim=4, hidden_units=(4,))
    items = {"tags": np.array([[0, 0], [1, 0], [3, 2], [2, 2], [2, 0]])}
    hour = np.float32([0.5, -3])
    found = recommend(
        mlp, vocabularies, ["b", "a"], 2, queries={"hour": hour}, items=items, candidates=[4, 2]
    )
    tags = np.repeat(np.array([[[3, 2], [2, 0]]]), 2, axis=0)
    pairs = {"user": np.array([3, 2]), "hour": hour, "item": np.array([[2, 4]] * 2), "tags": tags}
    scores = np.asarray(mlp(pairs))
    for row in range(2):
        expected = dict(zip([7, 9], scores[row].tolist(), strict=True))
        assert dict(found.rows()[row]) == pytest.approx(expected, rel=1e-5)


def test_a_model_of_numpy_is_enough(ready):
    class HighestId:
        schema = Schema(Categorical("user", 10), Categorical("item", 14))

        def __call__(self, inputs, training=False):
            return inputs["item"].astype(np.float32)

    ids = dict(zip(("user", "item"), ready.vocabularies.values(), strict=True))
    found = recommend(HighestId(), ids, np.array(["u3"], object), 2)
    assert found.score.tolist() == [[13, 12]]
    assert found.item_id[0].tolist() == ready.vocabularies["item_id"].decode([13, 12]).tolist()


def test_similar_items_are_those_of_the_export(ready, tmp_path):
    model = made(SASRec, ready)
    served = serving.load(
        serving.export(model, tmp_path / "m", vocabularies=ready.vocabularies, k=5)
    )
    found = similar_items(model, ready.vocabularies, [3, 0, 11], 5)
    expected = served.similar_items([3, 0, 11])
    np.testing.assert_array_equal(found.item_id, expected.item_id)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-5)
    some = np.array([2, 4, 6])
    asked = ready.vocabularies["item_id"].decode([4])
    left = similar_items(model, ready.vocabularies, asked, 2, candidates=some)
    assert set(left.item_id[0]) == set(ready.vocabularies["item_id"].decode([2, 6]).tolist())


@pytest.mark.parametrize(
    "users, more, message",
    [
        ("u1", {}, "expected a list of users, raw ids; received 'u1'"),
        (7, {}, "expected a list of users, raw ids; received 7"),
        ([], {}, "received no users; expected at least one raw id"),
        (["u1", "u2", "u1"], {}, "users must be distinct; received 'u1' 2 times"),
        ([1, 2], {}, "it holds string ids; received int64, such as 1"),
        (["u1", None], {}, "1 of 2 ids are missing"),
        ([float("nan"), 1.0], {}, "1 of 2 ids are missing"),
        (["u1", 2], {}, "expected one column of values of one type"),
        ([["u1"]], {}, "Vocabulary 'user_id'"),
        (["u1"], {"k": 0}, "k must be an integer from 1 to 12; received 0. There are 12 items"),
        (["u1"], {"k": 13}, "k must be an integer from 1 to 12"),
        (["u1"], {"seen": None}, r"reads \['history'\].* are made of seen="),
        (["u1"], {"seen": [1]}, r"seen must be encoded columns \['user_id', 'item_id'\]; rec"),
        (["u1"], {"seen": {"user_id": [2]}}, r"\['user_id', 'item_id'\]; received \['user_id'\]"),
        (["u1"], {"seen": {"user_id": [2], "item_id": ["a"]}}, r"seen\['item_id'\] must have the"),
        (["u1"], {"seen": {"user_id": [2], "item_id": [99]}}, "must hold ids from 0 to 13; rec"),
        (["u1"], {"seen": {"user_id": [2, 2], "item_id": [2]}}, "received 2 users and 1 items"),
        (["u1"], {"queries": {"history": np.zeros((2, 4), int)}}, "must have 1 rows; received 2"),
        (["u1"], {"candidates": np.array([2, 2])}, "hold every item once; received 1 repeated"),
        (["u1"], {"candidates": [1]}, "candidates must hold ids from 2 to 13; received 1"),
        (["u1"], {"candidates": {"item_id": [2]}}, "Features of items go into items="),
    ],
)
def test_bad_arguments_are_refused(users, more, message, ready):
    arguments = {"k": 3, "seen": ready.seen(), **more}
    with pytest.raises(ValueError, match=message):
        recommend(made(SASRec, ready), ready.vocabularies, users, **arguments)


@pytest.mark.parametrize(
    "items, k, message",
    [
        ([99], 3, "items must be ids of the training rows.*received 99"),
        (["3"], 3, "it holds int64 ids; received string"),
        ([3, 3], 3, "items must be distinct; received 3 2 times"),
        ([], 3, "received no items"),
        ([3], 12, "k must be an integer from 1 to 11"),
    ],
)
def test_bad_items_are_refused(items, k, message, ready):
    with pytest.raises(ValueError, match=message):
        similar_items(made(SASRec, ready), ready.vocabularies, items, k)


def test_other_models_and_weights_are_refused(ready):
    with pytest.raises(ValueError, match="expected a model with a `schema`.*received int"):
        recommend(3, ready.vocabularies, ["u1"])
    with pytest.raises(ValueError, match="expected a retriever.*received EmbeddingMLP"):
        similar_items(made(EmbeddingMLP, ready), ready.vocabularies, [3])
    for kind in (MatrixFactorization, EmbeddingMLP):
        model = made(kind, ready)
        model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
        with pytest.raises(ValueError, match=f"{kind.__name__} gave NaN; expected numbers"):
            recommend(model, ready.vocabularies, ["u1"], 3, seen=ready.seen())


def test_a_subclass_with_a_call_of_its_own_is_called(ready):
    class Opposite(EmbeddingMLP):
        def call(self, inputs, training=False):
            return -super().call(inputs, training=training)

    model = Opposite(ready.schema, embedding_dim=8, hidden_units=(8,))
    found = recommend(model, ready.vocabularies, ["u8"], 3, seen=ready.seen())
    items, scores = sorted_lists(model, ready, "u8", True)
    assert [item for item, _ in found.rows()[0]] == items[:3]
    np.testing.assert_allclose(found.score[0], scores[:3], rtol=1e-5, atol=1e-6)
