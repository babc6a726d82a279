"""Checks of models that encode queries and items separately."""

import numpy as np
import tensorflow as tf

from kerasrec.schema import FIRST_ID
from kerasrec.testing.assertions import demand, same, score, shake
from kerasrec.testing.cases import ModelCase, random_inputs
from kerasrec.types import Explainer, PartsRanker, Retriever


def check_retrieval(case: ModelCase) -> None:
    """Check for a retriever that dot products equal `call` and top-k equals argsort of `call`."""
    model = case.new()
    if not isinstance(model, Retriever):
        return
    shake(model)
    num_items = case.schema.item_id.num_ids
    inputs = random_inputs(case.schema, 5)
    everything = random_inputs(case.schema, num_items - FIRST_ID)
    everything[case.schema.item_id.name] = np.arange(FIRST_ID, num_items, dtype="int32")
    query = np.asarray(model.query_embedding(inputs))  # (5, dim)
    items = np.asarray(model.item_embedding(everything))  # (items, dim)
    pairs = dict(inputs)
    for feature in case.schema.item:
        column = everything[feature.name]
        pairs[feature.name] = np.broadcast_to(column, (5, *column.shape))
    scores = score(model, pairs)  # (5, items)
    same(query @ items.T, scores, case, "dot product = call")
    top = tf.math.top_k(tf.matmul(query, items, transpose_b=True), k=3).values
    same(top, -np.sort(-scores, axis=1)[:, :3], case, "top-k = argsort of call")


def check_contributions(case: ModelCase) -> None:
    """Check for a model that explains its scores that contributions add up to `call`."""
    model = case.new()
    if not isinstance(model, Explainer):
        return
    shake(model)
    for candidates in (None, 3):
        inputs = random_inputs(case.schema, 5, candidates=candidates)
        ids, parts = map(np.asarray, model.contributions(inputs))
        demand(ids.shape == (5, parts.shape[-1]), case, "one id for each contribution")
        padding = np.broadcast_to(ids if candidates is None else ids[:, None], parts.shape) == 0
        demand(not parts[padding].any(), case, "padding contributes nothing")
        same(parts.sum(axis=-1), score(model, inputs), case, "sum of contributions = call")


def check_parts(case: ModelCase) -> None:
    """Check for a `PartsRanker` that the scores of its parts equal `call`, compiled too."""
    model = case.new()
    if not isinstance(model, PartsRanker):
        return
    shake(model)
    inputs, others = random_inputs(case.schema, 5), random_inputs(case.schema, 7, seed=1)
    items = model.item_part(others)
    if items is None:
        return
    pairs = dict(inputs)
    for feature in case.schema.item:
        pairs[feature.name] = np.broadcast_to(
            others[feature.name], (5, *others[feature.name].shape)
        )
    expected, query = score(model, pairs), model.query_part(inputs)
    found = model.score_parts(query, items)
    demand(found.dtype == tf.float32, case, f"float32 scores of parts, not {found.dtype}")
    same(found, expected, case, "scores of parts = call")
    compiled = tf.function(model.score_parts, jit_compile=True)
    same(compiled(query, items), expected, case, "compiled scores of parts = call")
