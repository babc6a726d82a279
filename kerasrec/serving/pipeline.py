"""Retrieve, rank and re-rank: several models behind one `recommend`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.calibration import Calibration, calibration_of
from kerasrec.retrieval.columns import unknown_queries
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.retrieval.item_vectors import item_vectors, similarity
from kerasrec.retrieval.reranking import Reranker, Shortlist, category_shares
from kerasrec.schema import PADDING_ID, Feature, IdSequence, Schema
from kerasrec.types import Columns, Features, Retriever, Tensor, output_kind


@keras.saving.register_keras_serializable("kerasrec")
class Pipeline(keras.Model):
    """Pipeline that retrieves items with one model, ranks them with another, and re-ranks them.

        catalogue -> without excluded and filtered items -> the `retrieve` best of the retriever
                  -> scores of the ranker -> re-ranking -> k items

    It is exported like a model, with `export(pipeline, ...)`, into one graph. `recommend` runs the
    whole pipeline, `score` and the Examples use the ranker, and `similar_items` and the embeddings
    use the retriever. A user unknown to the retriever gets the most popular items, neither ranked
    nor re-ranked. The score of a recommended item is that of the ranker.

    Args:
        retriever: a model with `query_embedding` and `item_embedding`.
        ranker: any model of the same users and items; it may use features that the retriever does
            not.
        reranker: `MaximalMarginalRelevance`, `Calibrated`, `PopularityBalance` or another
            `Reranker`; None for the order of the ranker. Categories are those of `filter_by`,
            similarity is that of `similar_items`, the history is the first sequence of items.
        retrieve: number of items to rank.

    Raises:
        ValueError: if the models do not fit together.

    Example:

    >>> from kerasrec.models import EmbeddingMLP, MatrixFactorization
    >>> from kerasrec.retrieval import MaximalMarginalRelevance
    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=Categorical("user", 5), item=Categorical("item", 12))
    >>> pipeline = Pipeline(
    ...     MatrixFactorization(schema, embedding_dim=4),
    ...     EmbeddingMLP(schema, embedding_dim=4),
    ...     MaximalMarginalRelevance(0.3),
    ...     retrieve=6,
    ... )
    >>> found = pipeline.recommend(
    ...     {"user": np.array([2])}, k=3, candidates={"item": np.arange(2, 12)},
    ...     popularity=np.ones(10), exclude=np.array([[4, 5]]))
    >>> found["item"].shape, found["count"].tolist()
    ((1, 3), [3])
    """

    def __init__(
        self,
        retriever: Any,
        ranker: Any,
        reranker: Reranker | None = None,
        *,
        retrieve: int = 100,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not isinstance(retriever, Retriever):
            raise ValueError(
                "Pipeline: expected a retriever with query_embedding and item_embedding; received "
                f"{type(retriever).__name__}. Use it as the ranker."
            )
        if not isinstance(getattr(ranker, "schema", None), Schema) or not callable(ranker):
            raise ValueError(
                "Pipeline: expected a ranker with a `schema`, such as a model of kerasrec.models; "
                f"received {type(ranker).__name__}."
            )
        check_integer(self, "retrieve", retrieve, 1)
        self.schema = merged(retriever.schema, ranker.schema)
        self.retriever = retriever
        self.ranker = ranker
        self.reranker = reranker
        self.retrieve = retrieve
        self.autocast = False
        self.built = True
        if reranker is not None and reranker.needs_categories and self.history is None:
            raise ValueError(
                f"Pipeline: {type(reranker).__name__} compares with the history, and neither model "
                f"reads a sequence of {self.schema.item_id.name!r}. Add one to a schema."
            )

    @property
    def output_kind(self) -> str:
        """Return the output kind of the ranker's score."""
        return output_kind(self.ranker)

    @property
    def calibration(self) -> Calibration:
        """Return how the ranker's score becomes a probability."""
        return calibration_of(self.ranker)

    @property
    def history(self) -> IdSequence | None:
        """Return the first sequence of items on the query side."""
        return next(iter(self.schema.item_histories), None)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the ranker."""
        return self.ranker(inputs, training=training)

    def recommend(
        self,
        query: Columns,
        *,
        k: int,
        candidates: Columns,
        popularity: np.ndarray,
        exclude: np.ndarray | None = None,
        allowed: np.ndarray | None = None,
        categories: np.ndarray | None = None,
        num_categories: int = 0,
        vectors: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the recommendations of the exported graph, computed item by item.

        Args:
            query: encoded query features, one row per query.
            k: length of the lists.
            candidates: encoded item features, one row per item, sorted by item id.
            popularity: number of training rows of each candidate.
            exclude: encoded item ids `(batch, n)`, padded with 0.
            allowed: bool `(batch, candidates)`, True for items that pass the filter.
            categories: encoded categories `(candidates, width)`, padded with 0.
            num_categories: number of category ids.
            vectors: vectors of the candidates, if not those of the retriever.

        Returns:
            dict of `item`, encoded ids `(batch, k)`, 0 in empty slots; `score` `(batch, k)`;
            `count` and `fallback` `(batch,)`.
        """
        ids = candidates[self.schema.item_id.name]
        if vectors is None:
            vectors = item_vectors(self.retriever, candidates)
        fallback = unknown_queries(self.retriever, query)
        columns, norms = similarity(vectors)
        units = vectors * columns * norms[:, None]
        items = np.zeros((len(fallback), k), np.int32)
        scores = np.full((len(fallback), k), LOWEST_SCORE, np.float32)
        counts = np.zeros(len(fallback), np.int32)
        for row, unknown_row in enumerate(fallback):
            one = {f.name: query[f.name][row : row + 1] for f in self.schema.query}
            retrieved = popularity
            if not unknown_row:
                retrieved = vectors @ np.asarray(self.retriever.query_embedding(one))[0]
            here = np.ones(len(ids), bool) if allowed is None else allowed[row].copy()
            if exclude is not None:
                here &= ~np.isin(ids, exclude[row])
            places = np.flatnonzero(here)
            places = places[np.argsort(-retrieved[places], kind="stable")][: self.retrieve]
            ranked = retrieved[places].astype(np.float32)
            if not unknown_row and len(places):
                pairs = {f.name: candidates[f.name][places][None] for f in self.schema.item}
                ranked = np.asarray(self.ranker({**one, **pairs}, training=False))[0]
                order = np.argsort(-ranked, kind="stable")
                if self.reranker is not None:
                    shortlist = Shortlist(
                        tf.constant(ranked[order][None]),
                        tf.ones([1, len(order)], tf.bool),
                        tf.constant(units[places[order]][None], tf.float32),
                        tf.constant(popularity[places[order]][None], tf.float32),
                        *self._shares(one, ids, places[order], categories, num_categories),
                    )
                    chosen = self.reranker(shortlist, min(k, len(order)))
                    order = order[np.asarray(chosen)[0]]
                places, ranked = places[order], ranked[order]
            counts[row] = min(k, len(places))
            items[row, : counts[row]] = ids[places[:k]]
            scores[row, : counts[row]] = ranked[:k]
        return {"item": items, "score": scores, "count": counts, "fallback": fallback}

    def _shares(
        self,
        one: Columns,
        ids: np.ndarray,
        places: np.ndarray,
        categories: np.ndarray | None,
        num_categories: int,
    ) -> tuple[Tensor, ...]:
        """Return the category shares of some positions, and of one query's history."""
        if categories is None or self.history is None:
            return ()
        shares = category_shares(categories, num_categories).numpy()
        history = one[self.history.name][0]
        history = history[history != PADDING_ID][-self.history.max_length :]
        known = np.searchsorted(ids, history[np.isin(history, ids)])
        own = shares[known]
        own = own[own.sum(axis=1) > 0]
        profile = own.mean(axis=0) if len(own) else np.zeros(num_categories, np.float32)
        return tf.constant(shares[places][None]), tf.constant(profile[None], tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in ("retriever", "ranker", "reranker")
            },
            "retrieve": self.retrieve,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Create a pipeline of new models, with the given dtype if there is one."""
        config = dict(config)
        config.pop("trainable", None)
        parts = {}
        for name in ("retriever", "ranker", "reranker"):
            part = config.pop(name)
            if isinstance(config.get("dtype"), str) and name != "reranker":
                part = {**part, "config": {**part["config"], "dtype": config["dtype"]}}
            parts[name] = keras.saving.deserialize_keras_object(part, custom_objects)
        return cls(**parts, **config)


def merged(retriever: Schema, ranker: Schema) -> Schema:
    """Return a schema with the features of both models.

    Args:
        retriever: schema of the retriever.
        ranker: schema of the ranker, whose label is kept.

    Raises:
        ValueError: if the ids of users or items, or features with the same name, differ.
    """
    for role in ("user_id", "item_id"):
        if getattr(retriever, role) != getattr(ranker, role):
            raise ValueError(
                f"Pipeline: both models need the same {role}; received "
                f"{getattr(retriever, role)} and {getattr(ranker, role)}. Train them with the same "
                "vocabularies."
            )
    roles: dict[str, Any] = {}
    for role in ("user", "item", "context"):
        features: Mapping[str, Feature] = {f.name: f for f in getattr(retriever, role)}
        for feature in getattr(ranker, role):
            if features.get(feature.name, feature) != feature:
                raise ValueError(
                    f"Pipeline: the feature {feature.name!r} is {features[feature.name]} of the "
                    f"retriever and {feature} of the ranker. Train them with one schema."
                )
        extra = tuple(f for f in getattr(ranker, role) if f.name not in features)
        roles[role] = (*getattr(retriever, role), *extra)
    return dataclasses.replace(ranker, **roles)
