import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import rank, recommend
from kerasrec.evaluation.ranking import item_parts
from kerasrec.evaluation.ranking.item_parts import ItemParts
from kerasrec.models import EmbeddingMLP, NeuMF
from kerasrec.schema import Categorical, Schema
from kerasrec.testing.assertions import shake
from kerasrec.testing.cases import random_inputs, tiny_schema

SCHEMA = Schema(user=Categorical("user", 40), item=Categorical("item", 30))
MANY = 10**9


class Sums:
    """A ranker of numbers, which adds that of the query to that of the item."""

    schema = SCHEMA

    def __call__(self, inputs, training=False):
        raise NotImplementedError

    def query_part(self, inputs):
        return 100.0 * inputs["user"][:, None].astype(np.float32)

    def item_part(self, inputs):
        return np.repeat(inputs["item"][:, None] // 2, 3, axis=1).astype(np.float32)

    def score_parts(self, query, items):
        return query + items[:, 0]


def all_scores(model, query, items, queries):
    parts = ItemParts.of(model, items, queries=queries)
    return parts.scores(parts.queries(query)), parts


def test_a_model_of_numpy_needs_no_tensors():
    found, parts = all_scores(
        Sums(), {"user": np.array([2, 3])}, {"item": np.array([4, 5, 8])}, MANY
    )
    assert found.tolist() == [[202.0, 202.0, 204.0], [302.0, 302.0, 304.0]]
    assert isinstance(parts.parts, np.ndarray) and not parts.compiled
    assert (parts.repeats.tolist(), parts.originals.tolist()) == ([1], [0])
    test = {"user": np.array([2, 3]), "item": np.array([29, 4])}  # ranks 1 or 2 and 25 or 26
    assert rank(Sums(), test, seen=None, k=2)["hr@2"] == 0.5
    assert set(recommend(Sums(), test, seen=None, k=2).items[0]) == {28, 29}


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from([EmbeddingMLP, NeuMF]),
    step=st.integers(1, 80),
    call=st.integers(1, 400),
    queries=st.integers(1, 20),
)
def test_the_compiled_loop_gives_the_scores_of_call(kind, step, call, queries):
    """However many pairs a step and a call take, with features on both sides."""
    schema = tiny_schema(features=True)
    model = kind(schema, embedding_dim=4, hidden_units=(6, 3))
    shake(model)
    items, query = random_inputs(schema, 23), random_inputs(schema, queries, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_parts, "_PAIRS_PER_STEP", step)
        patch.setattr(item_parts, "_PAIRS_PER_CALL", call)
        found, parts = all_scores(model, query, items, MANY)
    assert parts.compiled
    pairs = {f.name: np.broadcast_to(items[f.name], (queries, *items[f.name].shape))
             for f in schema.item}  # fmt: skip
    np.testing.assert_allclose(found, model({**query, **pairs}), rtol=1e-5, atol=1e-5)


def test_new_weights_are_read_and_new_variables_are_traced():
    model = EmbeddingMLP(SCHEMA, embedding_dim=4, hidden_units=(6, 3))
    query, items = {"user": np.arange(2, 9)}, {"item": np.arange(2, 30)}

    def check():
        found = all_scores(model, query, items, MANY)[0]
        np.testing.assert_allclose(found, all_scores(model, query, items, 1)[0], atol=1e-5)
        return found

    before = check()
    loop = item_parts._loops[model][1]
    shake(model)
    assert np.abs(check() - before).max() > 0.1
    assert item_parts._loops[model][1] is loop
    model.hidden[1].enable_lora(2)
    shake(model)
    check()
    assert item_parts._loops[model][1] is not loop


def test_a_model_is_not_kept_by_its_loop():
    model = EmbeddingMLP(SCHEMA, embedding_dim=4, hidden_units=(6,))
    all_scores(model, {"user": np.arange(2, 5)}, {"item": np.arange(2, 30)}, MANY)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", [EmbeddingMLP, NeuMF])
def test_items_that_are_alike_tie(kind, monkeypatch):
    monkeypatch.setattr(item_parts, "_WORTH_COMPILING", 1)
    model = kind(SCHEMA, embedding_dim=4, hidden_units=(6, 3))
    shake(model)
    for table in (model.features.tables["item"], getattr(model, "item_vectors", None)):
        if table is not None:
            rows = np.asarray(table.embeddings)
            table.embeddings.assign(rows[[0, 1, *range(2, 16), *range(2, 16)]])
    test = {"user": np.arange(2, 30), "item": np.arange(2, 30)}
    assert (rank(model, test, seen=None, k=5).positives.tied == 1).all()
