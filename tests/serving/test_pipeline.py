"""Pipelines: the exported graph against the Python result, and both against hand-made cases."""

import keras
import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.models import EmbeddingMLP, MatrixFactorization, SASRec
from kerasrec.retrieval import Calibrated, MaximalMarginalRelevance, PopularityBalance
from kerasrec.schema import Categorical, IdSequence, Numeric, Schema
from kerasrec.serving import Pipeline, export, load, verify
from kerasrec.serving.parts import in_float32, parts_of

ITEMS = 40
USER, ITEM = Categorical("user", 7), Categorical("item", ITEMS + 2)
HISTORY = IdSequence("history", of="item", max_length=5)
RNG = np.random.default_rng(0)
VOCABULARIES = {
    "user": Vocabulary.fit([f"user {n}" for n in range(5)]),
    "item": Vocabulary(np.arange(100, 100 + ITEMS), RNG.integers(1, 90, ITEMS)),
    "genre": Vocabulary.fit(["a", "b", "c"]),
}
TABLE = {
    "price": RNG.normal(size=ITEMS + 2).astype(np.float32),
    "genre": RNG.integers(0, 5, size=(ITEMS + 2, 2)).astype(np.int32),
}
IN_STOCK = np.arange(2, ITEMS)  # two are not
CANDIDATES = {"item": IN_STOCK, **{name: column[IN_STOCK] for name, column in TABLE.items()}}
QUERY = {
    "user": ["user 0", "user 3", "?", "user 1"],
    "history": [[100, 105], [], [139], [101, 102, 103, 104, 110]],
    "hour": [0.5, 1.0, 0.0, -1.0],
}


def models(retriever=MatrixFactorization):
    keras.utils.set_random_seed(1)
    user = (USER, HISTORY) if retriever is SASRec else (USER,)
    first = retriever(Schema(user=user, item=ITEM), embedding_dim=8, stddev=0.7)
    schema = Schema(user=(USER, HISTORY), item=(ITEM, Numeric("price")), context=Numeric("hour"))
    second = EmbeddingMLP(schema, embedding_dim=8, hidden_units=(8,), stddev=1.0)
    return first, second


def expected(pipeline, *, k, exclude, allow=None):
    """The Python result in raw ids."""
    vocabularies = VOCABULARIES
    history = np.zeros((4, 5), np.int32)
    for row, ids in enumerate(QUERY["history"]):
        history[row, : len(ids)] = vocabularies["item"].encode(ids)
    genres = CANDIDATES["genre"]
    allowed = np.ones((4, len(genres)), bool)
    for row, wanted in enumerate(allow or []):
        if wanted:
            ids = vocabularies["genre"].encode(wanted)
            allowed[row] = np.isin(genres, ids[ids >= 2]).any(axis=1)
    found = pipeline.recommend(
        {
            "user": vocabularies["user"].encode(QUERY["user"]),
            "history": history,
            "hour": np.float32(QUERY["hour"]),
        },
        k=k,
        candidates=CANDIDATES,
        popularity=vocabularies["item"].counts[CANDIDATES["item"] - 2],
        exclude=np.stack([vocabularies["item"].encode(row) for row in exclude]),
        allowed=allowed,
        categories=genres,
        num_categories=5,
    )
    found["item_id"] = np.where(found["item"], vocabularies["item"].ids[found["item"] - 2], -1)
    return found


@pytest.mark.parametrize(
    "retriever, reranker",
    [
        (MatrixFactorization, MaximalMarginalRelevance(0.5)),
        pytest.param(SASRec, Calibrated(0.7), marks=pytest.mark.slow),
        pytest.param(MatrixFactorization, PopularityBalance(0.5), marks=pytest.mark.slow),
        pytest.param(MatrixFactorization, None, marks=pytest.mark.slow),
    ],
    ids=["mmr", "calibrated", "popularity", "none"],
)
def test_the_graph_recommends_what_python_does(tmp_path, retriever, reranker):
    pipeline = Pipeline(*models(retriever), reranker, retrieve=15)
    path = export(
        pipeline,
        tmp_path,
        vocabularies=VOCABULARIES,
        items=TABLE,
        candidates=IN_STOCK,
        filter_by="genre",
        k=6,
    )
    served = load(path)
    exclude = [[100, 120], [101, 121], [102, 122], [103, 123]]
    for allow in (None, [["a"], [], ["b"], ["c", "b"]]):
        answer = served.recommend(QUERY, exclude=exclude, allow=allow)
        found = expected(pipeline, k=6, exclude=exclude, allow=allow)
        assert answer.count.tolist() == found["count"].tolist()
        assert answer.fallback.tolist() == found["fallback"].tolist()
        assert answer.item_id.tolist() == found["item_id"].tolist()
        np.testing.assert_allclose(answer.score, found["score"], rtol=1e-5, atol=1e-5)
    assert {"similar_items", "regress"} <= {check.signature for check in verify(path).signatures}


class ByPrice:
    """A ranker that is no Keras model."""

    schema = Schema(user=(USER, HISTORY), item=(ITEM, Numeric("price")))
    output_kind = "rating"

    def __call__(self, inputs, training=False):
        return inputs["price"]


def test_only_what_is_retrieved_is_ranked_and_only_what_is_left():
    """Retrieved are the 3 items of the largest product; the ranker orders them by price."""
    first, _ = models()
    pipeline = Pipeline(first, ByPrice(), retrieve=3)
    assert pipeline.output_kind == "rating"
    found = expected(pipeline, k=3, exclude=[[100]] * 4)
    query = first.query_embedding({"user": np.array([2])})
    scores = (query @ np.asarray(first.item_embedding(CANDIDATES)).T).numpy()[0]
    scores[0] = -np.inf  # item 100
    three = np.argsort(-scores)[:3]
    by_price = three[np.argsort(-CANDIDATES["price"][three])]
    assert found["item"][0].tolist() == CANDIDATES["item"][by_price].tolist()
    np.testing.assert_array_equal(found["score"][0], CANDIDATES["price"][by_price])
    assert found["fallback"].tolist() == [False, False, True, False]
    counts = VOCABULARIES["item"].counts[1:-2]
    assert found["score"][2].tolist() == sorted(counts, reverse=True)[:3]


def test_a_pipeline_is_saved_by_keras(tmp_path):
    pipeline = Pipeline(*models(), MaximalMarginalRelevance(0.5), retrieve=9)
    pipeline.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.retrieve == 9 and again.reranker.weight == 0.5
    for old, new in zip(pipeline.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_does_not_fit_is_refused(tmp_path):
    first, second = models()
    with pytest.raises(ValueError, match="expected a retriever.*received EmbeddingMLP"):
        Pipeline(second, first)
    with pytest.raises(ValueError, match="expected a ranker.*received int"):
        Pipeline(first, 3)
    with pytest.raises(ValueError, match="retrieve must be an integer of at least 1; received 0"):
        Pipeline(first, second, retrieve=0)
    with pytest.raises(ValueError, match="Calibrated compares with the history"):
        Pipeline(first, first, Calibrated())
    other = MatrixFactorization(Schema(user=USER, item=Categorical("item", 9)))
    with pytest.raises(ValueError, match="both models need the same item_id"):
        Pipeline(first, other)
    longer = IdSequence("history", of="item", max_length=9)
    sequential = SASRec(Schema(user=(USER, longer), item=ITEM), embedding_dim=4)
    with pytest.raises(ValueError, match="the feature 'history' is"):
        Pipeline(sequential, second)
    options = {"vocabularies": VOCABULARIES, "items": TABLE}
    with pytest.raises(ValueError, match="recommends at most as many; received k=10"):
        export(Pipeline(first, second, retrieve=5), tmp_path, **options)
    with pytest.raises(ValueError, match="must be Keras models; received ByPrice"):
        export(Pipeline(first, ByPrice()), tmp_path, **options)
    with pytest.raises(ValueError, match="Calibrated needs the categories of the items"):
        export(Pipeline(first, second, Calibrated()), tmp_path, **options)


def test_parts_of_mixed_precision_are_copied_in_float32():
    first, second = models()
    mixed = type(first).from_config({**first.get_config(), "dtype": "mixed_bfloat16"})
    copy = in_float32(parts_of(Pipeline(mixed, second)))
    assert [part.compute_dtype for part in (copy.retriever, copy.ranker)] == ["float32", "float32"]
    for old, new in zip(mixed.get_weights(), copy.retriever.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    parts = parts_of(Pipeline(first, second))
    assert in_float32(parts) is parts


@pytest.mark.slow
def test_a_pipeline_of_smaller_tables_is_verified(tmp_path):
    pipeline = Pipeline(*models(), MaximalMarginalRelevance(0.5), retrieve=15)
    tables = {"items": TABLE, "candidates": IN_STOCK}
    path = export(pipeline, tmp_path, vocabularies=VOCABULARIES, **tables, quantize="int8", k=4)
    assert verify(path).quantization["recall@38"] == 1
