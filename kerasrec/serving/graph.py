"""The served graph: raw ids in; scores, recommendations and vectors out."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.retrieval import LOWEST_SCORE, TopK, blocked_top_k
from kerasrec.schema import FIRST_ID, Categorical, Feature, Numeric, Schema
from kerasrec.serving.examples import parse_examples
from kerasrec.serving.lookup import IdLookup
from kerasrec.serving.raw_ids import PADDING, known_by, raw_dtype
from kerasrec.serving.signatures import SCORES, Options
from kerasrec.types import Columns, Features, Retriever, Tensor

# Numbers of (query, item) pairs that are scored at once. A dot product holds one float a pair; any
# other model holds the activations of its layers.
PAIRS_OF_RETRIEVER = 2**22
PAIRS_OF_RANKER = 2**16

CLASSES = ("0", "1")
"""What `classify` calls a pair without and with the label."""


class ServedModel:
    """All that is exported: weights, vocabularies, catalogue, and the signatures.

    Args:
        model: scores encoded features; its `schema` names them.
        vocabularies: vocabulary of every feature with ids of its own.
        candidates: encoded item features of the catalogue, one row an item.
        options: which signatures, and how long the lists are.
        folder: where the vocabulary files are written.
    """

    def __init__(
        self,
        model: Any,
        vocabularies: Mapping[str, Vocabulary],
        candidates: Columns,
        *,
        options: Options,
        folder: pathlib.Path,
    ) -> None:
        self.model = model
        self.call = functools.partial(model, training=False)
        self.schema: Schema = model.schema
        self.options = options
        self.known_by = known_by(model)
        self.dtypes = {
            f.name: raw_dtype(self.schema, vocabularies, f) for f in model.schema.features
        }
        self.lookups = {
            name: IdLookup(vocabulary, folder / f"{name}.txt")
            for name, vocabulary in vocabularies.items()
        }
        items = vocabularies[self.schema.item_id.name]
        ids = candidates[self.schema.item_id.name]
        self.num_candidates = len(ids)
        positions = np.full(items.num_ids, -1, np.int32)
        positions[ids] = np.arange(len(ids), dtype=np.int32)
        self.positions = _constant("positions", positions)
        self.popularity = _constant("popularity", items.counts[ids - FIRST_ID].astype(np.float32))
        # The last row is what an empty slot holds.
        raw = [*items.decode(ids).tolist(), PADDING[items.dtype]]
        self.raw_items = _constant("raw_items", tf.constant(raw, tf.as_dtype(items.dtype)))
        self.is_retriever = isinstance(model, Retriever)
        if self.is_retriever:
            vectors = item_vectors(model, candidates)
            self.item_vectors = _constant("item_vectors", vectors)
            if "similar_items" in options.signatures:
                columns, norms = similarity(vectors)
                self.similar_columns = _constant("similar_columns", columns)
                self.inverse_norms = _constant("inverse_norms", norms)
        else:
            self.item_features = {
                name: _constant(f"candidates_{name}", column) for name, column in candidates.items()
            }

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """The functions to export, with names, shapes and types from the schema."""
        schema = self.schema
        item_dtype = tf.as_dtype(self.dtypes[schema.item_id.name])
        exclude = {"exclude": tf.TensorSpec((None, None), item_dtype, "exclude")}
        query = {feature.name: self._spec(feature) for feature in schema.query}
        item = {feature.name: self._spec(feature) for feature in schema.item}
        examples = {n: {n: tf.TensorSpec((None,), tf.string, n)} for n in ("examples", "inputs")}
        endpoints: dict[str, tuple[Callable[..., Any], dict[str, tf.TensorSpec]]] = {
            "score": (self.score, {**query, **item}),
            "similar_items": (self.similar_items, {schema.item_id.name: item[schema.item_id.name]}),
            "user_embedding": (self.user_embedding, query),
            "item_embedding": (self.item_embedding, item),
            "predict_examples": (self.predict_examples, examples["examples"]),
            "regress": (self.regress, examples["inputs"]),
            "classify": (self.classify, examples["inputs"]),
        }
        for k in self.options.ks:
            recommend = functools.partial(self.recommend, k=k)
            endpoints[f"recommend_{k}"] = (recommend, {**query, **exclude})
        functions: dict[str, Callable[..., Any]] = {}
        for name in self.options.signatures:
            # Two names of one thing share its graph.
            source = "score" if name in SCORES else name
            if name in self.options.lists:
                source = f"recommend_{self.options.lists[name]}"
            if source not in functions:
                function, specs = endpoints[source]
                # Nothing here is Python control flow, so AutoGraph has nothing to rewrite.
                functions[source] = tf.function(function, input_signature=[specs], autograph=False)
            functions[name] = functions[source]
        return {name: functions[name] for name in self.options.signatures}

    def used(self, functions: Iterable[Any]) -> tf.Module:
        """The weights and tables that these functions read, and no others: what is to be saved.

        Args:
            functions: from `signatures`.
        """
        read = {
            id(tensor)
            for function in functions
            for tensor in function.get_concrete_function().captured_inputs
        }
        # The values, not the model: SavedModel would store all that hangs on a Keras object.
        weights = [weight.value for weight in self.model.variables]
        own = [value for value in vars(self).values() if isinstance(value, tf.Variable)]
        features = list(getattr(self, "item_features", {}).values())
        saved = tf.Module(name="served_model")
        saved.variables_read = [v for v in [*weights, *own, *features] if id(v.handle) in read]
        tables = [lookup.table for lookup in self.lookups.values()]
        saved.tables_read = [table for table in tables if id(table.resource_handle) in read]
        return saved

    def score(self, raw: Features) -> dict[str, Tensor]:
        """Scores `(batch,)` of pairs given by raw ids and the other features."""
        return {"score": self.call(self._encode(raw, self.schema.features))}

    def predict_examples(self, raw: Features) -> dict[str, Tensor]:
        """Scores `(batch,)` of pairs given by serialised Examples."""
        return self.score(parse_examples(raw["examples"], self.schema.features, self.dtypes))

    def regress(self, raw: Features) -> dict[str, Tensor]:
        """Scores `(batch,)` as Regress wants them."""
        return {"outputs": self.predict_examples({"examples": raw["inputs"]})["score"]}

    def classify(self, raw: Features) -> dict[str, Tensor]:
        """Probabilities `(batch, 2)` of no and yes, of scores that are log odds."""
        logits = self.predict_examples({"examples": raw["inputs"]})["score"]
        scores = tf.stack([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=1)
        return {"classes": tf.tile([CLASSES], [tf.shape(logits)[0], 1]), "scores": scores}

    def user_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Query vectors `(batch, dim)`."""
        query = self._encode(raw, self.schema.query)
        return {"embedding": tf.cast(self.model.query_embedding(query), tf.float32)}

    def item_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Item vectors `(batch, dim)`."""
        item = self._encode(raw, self.schema.item)
        return {"embedding": tf.cast(self.model.item_embedding(item), tf.float32)}

    def recommend(self, raw: Features, *, k: int) -> dict[str, Tensor]:
        """The k best items of each query, or the most popular ones where nothing is known."""
        query = self._encode(raw, self.schema.query)
        unknown = query[self.known_by] < FIRST_ID
        if unknown.shape.rank == 2:  # a history: not one known item
            unknown = tf.reduce_all(unknown, axis=1)
        excluded = self.lookups[self.schema.item_id.name](raw["exclude"])
        if self.is_retriever:
            vectors = self.model.query_embedding(query)
            scores_of, pairs_per_block = self._dot_products(vectors), PAIRS_OF_RETRIEVER
        else:
            scores_of, pairs_per_block = self._pairs(query), PAIRS_OF_RANKER

        def score_block(start: Tensor, stop: Tensor) -> Tensor:
            popularity = self.popularity[start:stop][None, :]
            return tf.where(unknown[:, None], popularity, scores_of(start, stop))

        best = blocked_top_k(
            score_block,
            num_candidates=self.num_candidates,
            k=k,
            exclude=tf.gather(self.positions, excluded),
            pairs_per_block=pairs_per_block,
        )
        return {**self._items(best), "fallback": unknown}

    def similar_items(self, raw: Features) -> dict[str, Tensor]:
        """The items of the catalogue with the largest cosine, the asked item left out."""
        name = self.schema.item_id.name
        position = tf.gather(self.positions, self.lookups[name](raw[name]))  # -1: not there
        place = tf.maximum(position, 0)
        query = tf.gather(self.item_vectors, place) * self.similar_columns
        scores_of = self._dot_products(query * tf.gather(self.inverse_norms, place)[:, None])

        def score_block(start: Tensor, stop: Tensor) -> Tensor:
            cosines = scores_of(start, stop) * self.inverse_norms[start:stop]
            return tf.where(position[:, None] < 0, LOWEST_SCORE, cosines)

        best = blocked_top_k(
            score_block,
            num_candidates=self.num_candidates,
            k=self.options.ks[0],
            exclude=position[:, None],
            pairs_per_block=PAIRS_OF_RETRIEVER,
        )
        return self._items(best)

    def _items(self, best: TopK) -> dict[str, Tensor]:
        slots = tf.where(best.positions < 0, self.num_candidates, best.positions)
        return {
            "item_id": tf.gather(self.raw_items, slots),
            "score": best.scores,
            "count": best.count,
        }

    def _spec(self, feature: Feature) -> tf.TensorSpec:
        dtype = tf.as_dtype(self.dtypes[feature.name])
        return tf.TensorSpec((None, *feature.shape), dtype, feature.name)

    def _encode(self, raw: Features, features: tuple[Feature, ...]) -> dict[str, Tensor]:
        encoded = {}
        for feature in features:
            value = raw[feature.name]
            if not isinstance(feature, Numeric):
                lookup = self.lookups[self.schema.id_space(feature.name)]
                value = lookup(value, padded=not isinstance(feature, Categorical))
            encoded[feature.name] = value
        return encoded

    def _dot_products(self, vectors: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def block(start: Tensor, stop: Tensor) -> Tensor:
            return tf.matmul(vectors, self.item_vectors[start:stop], transpose_b=True)

        return block

    def _pairs(self, query: Features) -> Callable[[Tensor, Tensor], Tensor]:
        batch = tf.shape(query[self.schema.user_id.name])[0]

        def block(start: Tensor, stop: Tensor) -> Tensor:
            items = {}
            for name, column in self.item_features.items():
                part = column[start:stop][None, ...]  # (1, block, ...)
                items[name] = tf.repeat(part, batch, axis=0)  # (batch, block, ...)
            return self.call({**query, **items})

        return block


def item_vectors(model: Retriever, candidates: Columns, *, rows: int = 2**16) -> np.ndarray:
    """The vectors `(candidates, dim)` of a catalogue, computed block by block.

    Args:
        model: a retriever.
        candidates: encoded item features, one row an item.
        rows: size of a block.
    """
    total = len(next(iter(candidates.values())))
    blocks = [
        np.asarray(
            model.item_embedding(
                {
                    name: tf.constant(column[start : start + rows])
                    for name, column in candidates.items()
                }
            )
        )
        for start in range(0, total, rows)
    ]
    return np.concatenate(blocks)


def similarity(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What makes dot products of item vectors cosines.

    A column that is the same for all items, such as the 1 that carries a user's bias, says nothing
    of an item and is left out.

    Args:
        vectors: of the catalogue, `(items, dim)`.

    Returns:
        float32 `(dim,)`, 1 where a column counts, and `(items,)`, 1 / length over those columns; 0
        for a vector of zeros.

    Example:

    >>> columns, norms = similarity(np.float32([[0, 1, 4], [0, 1, 0]]))
    >>> columns.tolist(), norms.tolist()
    ([0.0, 0.0, 1.0], [0.25, 0.0])
    """
    columns = (vectors != vectors[:1]).any(axis=0).astype(np.float32)
    lengths = np.linalg.norm(vectors * columns, axis=1)
    return columns, (np.divide(1, lengths, where=lengths > 0, out=np.zeros_like(lengths)))


def _constant(name: str, value: Any) -> tf.Variable:
    """A value of the graph, kept as a variable: constants above 2 GB do not fit in a SavedModel."""
    return tf.Variable(value, trainable=False, name=name)
