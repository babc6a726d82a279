"""Served graph from raw ids to scores, recommendations and vectors."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.schema import (
    FIRST_ID,
    Categorical,
    Feature,
    Numeric,
    NumericSequence,
    Schema,
    Sequence,
)
from kerasrec.serving.catalogue import Catalogue
from kerasrec.serving.compressing import compress_layers
from kerasrec.serving.examples import parse_examples
from kerasrec.serving.lookup import IdLookup, newest_alone
from kerasrec.serving.pipeline import Pipeline, retriever_of
from kerasrec.serving.pipeline_graph import run_pipeline
from kerasrec.serving.raw_ids import filter_space, known_by, raw_dtype
from kerasrec.serving.signatures import SCORES, Options
from kerasrec.types import Columns, Features, Tensor

CLASSES = ("0", "1")
"""Class names of `classify`: without and with the label."""


class ServedModel:
    """Exported module: weights, vocabularies, catalogue and signatures.

    Args:
        model: model with a `schema` that scores encoded features. It must be a copy, since smaller
            tables modify its layers.
        vocabularies: vocabulary of every feature with its own ids.
        candidates: encoded item features of the catalogue, one row per item.
        options: signatures and lengths of the lists.
        folder: folder for the vocabulary files.
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
        self.retriever = retriever_of(model)
        self.pipeline = model if isinstance(model, Pipeline) else None
        self.catalogue = Catalogue(
            self.schema,
            vocabularies,
            candidates,
            options,
            self.retriever,
            units=self.pipeline is not None and self.pipeline.reranker is not None,
        )
        # After the item vectors, which are rounded only once, from the exact ones.
        self.tables = [] if options.tables == "float32" else compress_layers(model, options.tables)

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """Return the functions to export, with names, shapes and types from the schema."""
        schema = self.schema
        item_dtype = tf.as_dtype(self.dtypes[schema.item_id.name])
        limits = {"exclude": tf.TensorSpec((None, None), item_dtype, "exclude")}
        if self.options.filter_by is not None:
            lookup = self.lookups[filter_space(schema, self.options.filter_by)]
            dtype = tf.as_dtype(lookup.dtype)
            limits["allow"] = tf.TensorSpec((None, None), dtype, "allow")
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
            endpoints[f"recommend_{k}"] = (recommend, {**query, **limits})
        functions: dict[str, Callable[..., Any]] = {}
        for name in self.options.signatures:
            # Two names of the same function share its graph.
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
        """Return the weights and tables that these functions use, which are to be saved.

        Args:
            functions: result of `signatures`.
        """
        read = {
            id(tensor)
            for function in functions
            for tensor in function.get_concrete_function().captured_inputs
        }
        # Track the values, not the model: SavedModel would store everything attached to a Keras
        # object.
        weights = [weight.value for weight in self.model.variables]
        saved = tf.Module(name="served_model")
        tables = [variable for table in self.tables for variable in table.variables_stored]
        stored = [*weights, *tables, *self.catalogue.variables]
        saved.variables_read = [v for v in stored if id(v.handle) in read]
        maps = [lookup.table for lookup in self.lookups.values()]
        saved.tables_read = [table for table in maps if id(table.resource_handle) in read]
        return saved

    def score(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` of pairs of raw ids and other features."""
        return {"score": self.call(self._encode(raw, self.schema.features))}

    def predict_examples(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` of pairs in serialised Examples."""
        return self.score(parse_examples(raw["examples"], self.schema.features, self.dtypes))

    def regress(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` in the form of Regress."""
        return {"outputs": self.predict_examples({"examples": raw["inputs"]})["score"]}

    def classify(self, raw: Features) -> dict[str, Tensor]:
        """Return probabilities `(batch, 2)` of no and yes from log odds."""
        logits = self.predict_examples({"examples": raw["inputs"]})["score"]
        scores = tf.stack([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=1)
        return {"classes": tf.tile([CLASSES], [tf.shape(logits)[0], 1]), "scores": scores}

    def user_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Return query vectors `(batch, dim)`."""
        query = self._encode(raw, self.schema.query)
        return {"embedding": tf.cast(self.retriever.query_embedding(query), tf.float32)}

    def item_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Return item vectors `(batch, dim)`."""
        item = self._encode(raw, self.schema.item)
        return {"embedding": tf.cast(self.retriever.item_embedding(item), tf.float32)}

    def recommend(self, raw: Features, *, k: int) -> dict[str, Tensor]:
        """Return the k best items of each query, or the most popular ones for unknown queries."""
        query = self._encode(raw, self.schema.query)
        unknown = self._unknown(query[self.known_by])
        catalogue = self.catalogue
        excluded = self.lookups[self.schema.item_id.name](raw["exclude"])
        limits: dict[str, Any] = {
            "exclude": tf.gather(catalogue.positions, excluded),
            "unknown": unknown,
            "allow": None,
        }
        if self.options.filter_by is not None:
            lookup = self.lookups[filter_space(self.schema, self.options.filter_by)]
            limits["allow"] = lookup(raw["allow"], padded=True)
        if self.pipeline is not None:
            best = run_pipeline(self.pipeline, catalogue, query, k, **limits)
        elif self.retriever is not None:
            best = catalogue.nearest(self.retriever.query_embedding(query), k, **limits)
        else:
            best = catalogue.best(self._pairs(query), k, **limits)
        return {**catalogue.answer(best), "fallback": unknown}

    def similar_items(self, raw: Features) -> dict[str, Tensor]:
        """Return the items with the largest cosine, without the queried item."""
        name = self.schema.item_id.name
        best = self.catalogue.similar(self.lookups[name](raw[name]), self.options.ks[0])
        return self.catalogue.answer(best)

    def _unknown(self, known: Tensor) -> Tensor:
        """Return the mask `(batch,)` of queries without a known id or history."""
        feature = self.schema.feature(self.known_by)
        if isinstance(feature, NumericSequence):
            return tf.reduce_all(tf.math.is_nan(known), axis=list(range(1, known.shape.rank)))
        if isinstance(feature, Sequence):
            return tf.reduce_all(newest_alone(known, feature.max_length) < FIRST_ID, axis=1)
        return known < FIRST_ID

    def _spec(self, feature: Feature) -> tf.TensorSpec:
        dtype = tf.as_dtype(self.dtypes[feature.name])
        shape: tuple[int | None, ...] = feature.shape
        if isinstance(feature, Sequence | NumericSequence):  # histories may have any width
            shape = (None, *shape[1:])
        return tf.TensorSpec((None, *shape), dtype, feature.name)

    def _encode(self, raw: Features, features: tuple[Feature, ...]) -> dict[str, Tensor]:
        encoded = {}
        for feature in features:
            value = raw[feature.name]
            if not isinstance(feature, Numeric):
                lookup = self.lookups[self.schema.id_space(feature.name)]
                value = lookup(value, padded=not isinstance(feature, Categorical))
            encoded[feature.name] = value
        return encoded

    def _pairs(self, query: Features) -> Callable[[Tensor, Tensor], Tensor]:
        batch = tf.shape(query[self.schema.user_id.name])[0]

        def block(start: Tensor, stop: Tensor) -> Tensor:
            items = {}
            for name, column in self.catalogue.features.items():
                part = column[start:stop][None, ...]  # (1, block, ...)
                items[name] = tf.repeat(part, batch, axis=0)  # (batch, block, ...)
            return self.call({**query, **items})

        return block
