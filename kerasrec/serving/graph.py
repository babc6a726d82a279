"""The served graph: raw ids in, the model's scores and recommendations out."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.retrieval import TopK, blocked_top_k
from kerasrec.schema import FIRST_ID, PADDING_ID, Categorical, Feature, Numeric, Schema
from kerasrec.serving.raw_ids import PADDING, known_by, raw_dtype
from kerasrec.types import Columns, Features, Retriever, Tensor

# Numbers of (query, item) pairs that are scored at once. A dot product holds one float a pair; any
# other model holds the activations of its layers.
PAIRS_OF_RETRIEVER = 2**22
PAIRS_OF_RANKER = 2**16


class _VocabularyFile(tf.lookup.TextFileInitializer):
    """Gives tables names of their own.

    The stock name is made of the path, so that two exports loaded in one process could share a
    table, and the path of the training machine would be served.
    """

    _shared_name = None


class IdLookup(tf.Module):
    """A vocabulary in the graph: raw ids to int32 ids, from a file that is exported along.

    Args:
        vocabulary: the map.
        path: text file to write, one id a line.
    """

    def __init__(self, vocabulary: Vocabulary, path: pathlib.Path) -> None:
        super().__init__()
        self.dtype = vocabulary.dtype
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.writelines(f"{raw}\n" for raw in vocabulary.ids.tolist())
        index = tf.lookup.TextFileIndex
        self.table = tf.lookup.StaticHashTable(
            _VocabularyFile(
                str(path),
                key_dtype=tf.as_dtype(self.dtype),
                # Whole lines for text: an id may hold tabs or start with spaces.
                key_index=index.WHOLE_LINE if self.dtype == "string" else 0,
                value_dtype=tf.int64,
                value_index=index.LINE_NUMBER,
                vocab_size=len(vocabulary),
            ),
            default_value=-1,
        )

    def __call__(self, raw: Tensor, *, padded: bool = False) -> Tensor:
        """Int32 ids of raw ids; padding becomes 0 if `padded`, else unknown."""
        ids = tf.cast(self.table.lookup(raw), tf.int32) + FIRST_ID
        return tf.where(raw == PADDING[self.dtype], PADDING_ID, ids) if padded else ids


class ServedModel(tf.Module):
    """All that is exported: weights, vocabularies, catalogue, and the two signatures.

    Args:
        model: scores encoded features; its `schema` names them.
        vocabularies: vocabulary of every feature with ids of its own.
        candidates: encoded item features of the catalogue, one row an item.
        k: number of recommendations.
        folder: where the vocabulary files are written.
    """

    def __init__(
        self,
        model: Any,
        vocabularies: Mapping[str, Vocabulary],
        candidates: Columns,
        *,
        k: int,
        folder: pathlib.Path,
    ) -> None:
        super().__init__(name="served_model")
        # A bound call, not the model: SavedModel would store all that hangs on a Keras object.
        self.call = functools.partial(model, training=False)
        self.schema: Schema = model.schema
        self.k = k
        self.known_by = known_by(model)
        self.weights = [weight.value for weight in model.variables]
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
            self.query_embedding = model.query_embedding
            self.item_vectors = _constant("item_vectors", item_vectors(model, candidates))
        else:
            self.item_features = {
                name: _constant(f"candidates_{name}", column) for name, column in candidates.items()
            }

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """The functions to export, with names, shapes and types from the schema."""
        schema = self.schema
        exclude = tf.TensorSpec(
            (None, None), tf.as_dtype(self.dtypes[schema.item_id.name]), "exclude"
        )
        query = {feature.name: self._spec(feature) for feature in schema.query}
        item = {feature.name: self._spec(feature) for feature in schema.item}
        # Nothing here is Python control flow, so AutoGraph has nothing to rewrite.
        return {
            "serving_default": tf.function(
                self.score, input_signature=[{**query, **item}], autograph=False
            ),
            "recommend": tf.function(
                self.recommend, input_signature=[{**query, "exclude": exclude}], autograph=False
            ),
        }

    def score(self, raw: Features) -> dict[str, Tensor]:
        """Scores `(batch,)` of pairs given by raw ids and the other features."""
        return {"score": self.call(self._encode(raw, self.schema.features))}

    def recommend(self, raw: Features) -> dict[str, Tensor]:
        """The k best items of each query, or the most popular ones where nothing is known."""
        query = self._encode(raw, self.schema.query)
        unknown = query[self.known_by] < FIRST_ID
        if unknown.shape.rank == 2:  # a history: not one known item
            unknown = tf.reduce_all(unknown, axis=1)
        excluded = self.lookups[self.schema.item_id.name](raw["exclude"])
        if self.is_retriever:
            scores_of, pairs_per_block = self._dot_products(query), PAIRS_OF_RETRIEVER
        else:
            scores_of, pairs_per_block = self._pairs(query), PAIRS_OF_RANKER

        def score_block(start: Tensor, stop: Tensor) -> Tensor:
            popularity = self.popularity[start:stop][None, :]
            return tf.where(unknown[:, None], popularity, scores_of(start, stop))

        best: TopK = blocked_top_k(
            score_block,
            num_candidates=self.num_candidates,
            k=self.k,
            exclude=tf.gather(self.positions, excluded),
            pairs_per_block=pairs_per_block,
        )
        slots = tf.where(best.positions < 0, self.num_candidates, best.positions)
        return {
            "item_id": tf.gather(self.raw_items, slots),
            "score": best.scores,
            "fallback": unknown,
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

    def _dot_products(self, query: Features) -> Callable[[Tensor, Tensor], Tensor]:
        vectors = self.query_embedding(query)

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


def _constant(name: str, value: Any) -> tf.Variable:
    """A value of the graph, kept as a variable: constants above 2 GB do not fit in a SavedModel."""
    return tf.Variable(value, trainable=False, name=name)
