"""Pipeline in the served graph."""

import tensorflow as tf

from kerasrec.retrieval import Shortlist
from kerasrec.retrieval.exact import LOWEST_SCORE, TopK
from kerasrec.serving.graph.catalogue import Catalogue
from kerasrec.serving.graph.lookup import newest_alone
from kerasrec.serving.pipeline import Pipeline
from kerasrec.types import Features, Tensor


def run_pipeline(
    pipeline: Pipeline, catalogue: Catalogue, query: Features, k: int, limits: dict[str, Tensor]
) -> TopK:
    """Retrieve, rank and re-rank.

    Args:
        pipeline: the models.
        catalogue: the items that may be recommended.
        query: encoded query features.
        k: length of the lists.
        limits: `exclude`, `allow` and `unknown` of the queries, see `Index`.
    """
    length = min(pipeline.retrieve, catalogue.size)
    vectors = pipeline.retriever.query_embedding(query)
    found = catalogue.index.search(vectors, length, **limits)
    real = found.positions >= 0
    places = tf.maximum(found.positions, 0)
    scores = pipeline.ranker({**query, **catalogue.features(places)}, training=False)
    unknown = limits["unknown"][:, None]
    scores = tf.where(real, tf.where(unknown, found.scores, scores), LOWEST_SCORE)
    # Empty slots come last, and ties keep the order of the retriever.
    scores, order = tf.math.top_k(scores, length)
    places = tf.gather(places, order, batch_dims=1)
    count = tf.minimum(found.count, k)
    columns = tf.broadcast_to(tf.range(k), [tf.shape(scores)[0], k])
    if pipeline.reranker is not None:
        items = Shortlist(
            scores,
            tf.range(length) < found.count[:, None],
            catalogue.unit_vectors(places),
            tf.gather(catalogue.popularity, places),
            *_shares(pipeline, catalogue, query, places),
        )
        columns = tf.where(unknown, columns, tf.maximum(pipeline.reranker(items, k), 0))
    here = tf.range(k) < count[:, None]
    return TopK(
        tf.where(here, tf.gather(scores, columns, batch_dims=1), LOWEST_SCORE),
        tf.where(here, tf.gather(places, columns, batch_dims=1), -1),
        count,
    )


def _shares(
    pipeline: Pipeline, catalogue: Catalogue, query: Features, places: Tensor
) -> tuple[Tensor, ...]:
    """Return the category shares of the items and of the histories."""
    if catalogue.categories is None or pipeline.history is None:
        return ()
    read = newest_alone(query[pipeline.history.name], pipeline.history.max_length)
    history = tf.gather(catalogue.positions, read)  # -1: missing
    own = catalogue.shares(tf.maximum(history, 0))
    own = tf.where(history[..., None] >= 0, own, 0.0)  # (batch, length, categories)
    profile = tf.math.divide_no_nan(
        tf.reduce_sum(own, axis=1), tf.reduce_sum(own, axis=[1, 2])[:, None]
    )
    return catalogue.shares(places), profile
