"""Served graph from raw ids to scores, recommendations and vectors."""

import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from kerasrec.schema import (
    FIRST_ID,
    PADDING_ID,
    UNKNOWN_ID,
    BagWeights,
    Date,
    Feature,
    Hashed,
)
from kerasrec.serving.graph.catalogue import Catalogue
from kerasrec.serving.graph.classes import class_answer
from kerasrec.serving.graph.examples import parse_examples
from kerasrec.serving.graph.lookup import IdLookup, hours_of, lookup_of, newest_alone
from kerasrec.serving.graph.pipeline import run_pipeline
from kerasrec.serving.graph.probability import log_odds
from kerasrec.serving.graph.stored_features import StoredFeatures, where_missing
from kerasrec.serving.parts import float32_copy
from kerasrec.serving.quantization import compress_layers
from kerasrec.serving.signatures import CLASSES
from kerasrec.serving.spec import ExportSpec, row_of
from kerasrec.types import Features, Tensor, reads_profiles

BLANK = r"[\s\v\x1c-\x1f\x{85}\p{Z}]*"
"""Text without a visible character, as a regular expression."""
Endpoint = tuple[Callable[..., Any], dict[str, tf.TensorSpec]]
"""A function of the graph, and the inputs that it takes."""


class ServedModel:
    """Exported module: weights, vocabularies, catalogue and signatures.

    Args:
        spec: specification of the export.
        folder: folder for the vocabulary files.
    """

    def __init__(self, spec: ExportSpec, folder: pathlib.Path) -> None:
        self.spec = spec
        self.schema = spec.schema
        # A copy, since it is traced and smaller tables modify its layers.
        self.parts = float32_copy(spec.model)
        self.call = functools.partial(self.parts.whole, training=False)
        self.lookups = {
            name: lookup_of(vocabulary, folder / f"{name}.txt")
            for name, vocabulary in spec.vocabularies.items()
        }
        self.joined = {
            key: IdLookup(table.keys, folder / f"{key}.keys.txt")
            for key, table in spec.tables.items()
        }
        self.stored = StoredFeatures(spec)
        if spec.has_items:
            self.catalogue = Catalogue(spec, self.parts.whole, self.stored)
        kind = spec.quantize
        self.tables = [] if kind == "float32" else compress_layers(self.parts.whole, kind)

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """Return the functions to export, with names, shapes and types from the schema."""
        spec = self.spec
        every = self._specs(self.schema.query) | self._specs(self.schema.item)
        examples = {n: {n: tf.TensorSpec((None,), tf.string, n)} for n in ("examples", "inputs")}
        endpoints: dict[str, Endpoint] = {
            "score": (self.score, every),
            "predict": (self.predict, every),
            "predict_examples": (self.predict_examples, examples["examples"]),
            "regress": (self.regress, examples["inputs"]),
            "classify": (self.classify, examples["inputs"]),
            **(self._endpoints_of_items() if spec.has_items else {}),
        }
        functions: dict[str, Callable[..., Any]] = {}
        for name in spec.signatures:
            # Two names of the same function share its graph.
            source = spec.written_as(name)
            if name in spec.lists:
                source = f"recommend_{spec.lists[name]}"
            if source not in functions:
                function, specs = endpoints[source]
                # Nothing here is Python control flow, so AutoGraph has nothing to rewrite.
                functions[source] = tf.function(function, input_signature=[specs], autograph=False)
            functions[name] = functions[source]
        return {name: functions[name] for name in spec.signatures}

    def _endpoints_of_items(self) -> dict[str, Endpoint]:
        """Return the functions that need a catalogue, with their inputs."""
        schema, spec = self.schema, self.spec
        item_dtype = tf.as_dtype(spec.item_vocabulary.dtype)
        limits = {"exclude": tf.TensorSpec((None, None), item_dtype, "exclude")}
        if spec.category_space is not None:
            dtype = tf.as_dtype(self.lookups[spec.category_space].dtype)
            limits["allow"] = tf.TensorSpec((None, None), dtype, "allow")
        query, item = self._specs(schema.query), self._specs(schema.item)
        endpoints: dict[str, Endpoint] = {
            "similar_items": (self.similar_items, {schema.item_id.name: item[schema.item_id.name]}),
            "user_embedding": (self.user_embedding, query),
            "item_embedding": (self.item_embedding, item),
            "explain": (self.explain, {**query, **item}),
        }
        for k in spec.ks:
            recommend = functools.partial(self.recommend, k=k)
            endpoints[f"recommend_{k}"] = (recommend, {**query, **limits})
        return endpoints

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
        weights = [weight.value for weight in self.parts.whole.variables]
        saved = tf.Module(name="served_model")
        tables = [variable for table in self.tables for variable in table.variables_stored]
        bounds = [variable for lookup in self.lookups.values() for variable in lookup.variables]
        catalogue = self.catalogue.variables if self.spec.has_items else []
        stored = [*weights, *tables, *bounds, *catalogue, *self.stored.variables]
        saved.variables_read = [v for v in stored if id(v.handle) in read]
        lookups = [*self.lookups.values(), *self.joined.values()]
        maps = [lookup.table for lookup in lookups if isinstance(lookup, IdLookup)]
        saved.tables_read = [table for table in maps if id(table.resource_handle) in read]
        return saved

    def score(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` of pairs of raw ids and other features."""
        return {"score": self.call(self._encode(raw, self.schema.features))}

    def predict(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` of rows of raw columns, and the probabilities of logits."""
        found = self.score(raw)
        if self.spec.classes:
            found |= class_answer(self.spec.classes, found["score"])
        if self.spec.is_logit:
            found["probability"] = tf.sigmoid(log_odds(self.spec.calibration, found["score"]))
        return found

    def predict_examples(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` of pairs in serialised Examples."""
        features = self.schema.features
        parsed = parse_examples(raw["examples"], self.spec.with_keys(features), self.spec.dtypes)
        inputs = self._encode(parsed, features)
        asked = self.spec.requested(features)
        sent = {feature.name for feature in asked}
        for feature in set(features) - set(asked):
            value = parsed[feature.name]
            given = self._look_up(value, feature)
            inputs[feature.name] = where_missing(value, given, inputs[feature.name])
            # The weights of the key are those of its bag.
            if isinstance(feature, BagWeights) and feature.of not in sent:
                bag, stored = parsed[feature.of], inputs[feature.name]
                inputs[feature.name] = where_missing(bag, given, stored)
        return {"score": self.call(inputs)}

    def regress(self, raw: Features) -> dict[str, Tensor]:
        """Return scores `(batch,)` in the form of Regress."""
        return {"outputs": self.predict_examples({"examples": raw["inputs"]})["score"]}

    def classify(self, raw: Features) -> dict[str, Tensor]:
        """Return probabilities `(batch, 2)` of no and yes, or of all classes."""
        scores = self.predict_examples({"examples": raw["inputs"]})["score"]
        if self.spec.classes:
            found = class_answer(self.spec.classes, scores)
            return {"classes": found["classes"], "scores": found["probability"]}
        logits = log_odds(self.spec.calibration, scores)
        scores = tf.stack([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=1)
        return {"classes": tf.tile([CLASSES], [tf.shape(logits)[0], 1]), "scores": scores}

    def user_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Return query vectors `(batch, dim)`."""
        query = self._encode(raw, self.schema.query)
        return {"embedding": tf.cast(self.parts.retriever.query_embedding(query), tf.float32)}

    def item_embedding(self, raw: Features) -> dict[str, Tensor]:
        """Return item vectors `(batch, dim)`."""
        item = self._encode(raw, self.schema.item)
        return {"embedding": tf.cast(self.parts.retriever.item_embedding(item), tf.float32)}

    def explain(self, raw: Features) -> dict[str, Tensor]:
        """Return the raw items of the query and what each adds to the score, `(batch, width)`."""
        encoded = self._encode(raw, self.schema.features)
        ids, contributions = self.parts.whole.contributions(encoded)
        return {"history": self.catalogue.raw(ids), "contributions": contributions}

    def recommend(self, raw: Features, *, k: int) -> dict[str, Tensor]:
        """Return the k best items of each query, or the most popular ones for unknown queries."""
        query = self._encode(raw, self.schema.query)
        if self.spec.known_by:
            unknown = tf.reduce_all([self._unknown(query, n) for n in self.spec.known_by], axis=0)
        else:
            unknown = tf.zeros(tf.shape(raw["exclude"])[:1], tf.bool)
        whole = self.parts.retriever is None
        reader = self.parts.whole if whole else self.parts.retriever
        if reads_profiles(reader):  # a known user may have no positive
            unknown |= tf.reduce_all(reader.items_of(query) == PADDING_ID, axis=1)
        catalogue = self.catalogue
        excluded = self.lookups[self.schema.item_id.name](raw["exclude"])
        limits = {"exclude": tf.gather(catalogue.positions, excluded), "unknown": unknown}
        if self.spec.category_space is not None:
            limits["allow"] = self.lookups[self.spec.category_space](raw["allow"], padded=True)
        if self.parts.pipeline is not None:
            best = run_pipeline(self.parts.pipeline, catalogue, query, k, limits)
        elif self.parts.retriever is not None:
            vectors = self.parts.retriever.query_embedding(query)
            best = catalogue.index.search(vectors, k, **limits)
        else:
            best = catalogue.index.search(query, k, **limits)
        return {**catalogue.answer(best), "fallback": unknown}

    def similar_items(self, raw: Features) -> dict[str, Tensor]:
        """Return the items most like each item, without the item itself."""
        name = self.schema.item_id.name
        best = self.catalogue.similar(self.lookups[name](raw[name]), self.spec.ks[0])
        return self.catalogue.answer(best)

    def _unknown(self, query: Features, name: str) -> Tensor:
        """Return the mask `(batch,)` of queries in which nothing of a feature is known."""
        feature, known = self.schema.feature(name), query[name]
        if feature.is_history and feature.has_ids:
            known = newest_alone(known, feature.shape[0])
        unknown = known < FIRST_ID if feature.has_ids else tf.math.is_nan(known)
        return tf.reduce_all(unknown, axis=list(range(1, known.shape.rank)))

    def _specs(self, features: tuple[Feature, ...]) -> dict[str, tf.TensorSpec]:
        """Return the inputs of a request about some features."""
        return {feature.name: self._spec(feature) for feature in self.spec.requested(features)}

    def _spec(self, feature: Feature) -> tf.TensorSpec:
        dtype = tf.as_dtype(self.spec.dtypes[feature.name])
        shape: tuple[int | None, ...] = feature.raw_shape
        if feature.is_history:  # of any width
            shape = (None, *shape[1:])
        return tf.TensorSpec((None, *shape), dtype, feature.name)

    def _encode(self, raw: Features, features: tuple[Feature, ...]) -> dict[str, Tensor]:
        """Return encoded features: those of the request, and the stored ones."""
        sent = [f for f in self.spec.requested(features) if f in self.schema.features]
        encoded = {feature.name: self._look_up(raw[feature.name], feature) for feature in sent}
        encoded |= {row_of(key): lookup(raw[key]) for key, lookup in self.joined.items()}
        found = self.stored.complete(encoded, features)
        return {feature.name: found[feature.name] for feature in features}

    def _look_up(self, value: Tensor, feature: Feature) -> Tensor:
        if isinstance(feature, Date):
            return hours_of(value)
        if not feature.has_ids:
            return value
        padded = feature.missing_id == PADDING_ID
        found = self.lookups[self.schema.id_space(feature.name)](value, padded=padded)
        ids = [self.schema.user_id.name] if self.schema.user else []
        ids += [self.schema.item_id.name] if self.schema.item else []
        if value.dtype != tf.string or feature.is_history or feature.name in ids:
            return found
        # Blank text is missing in the tables of a training, too.
        blank = tf.strings.regex_full_match(value, BLANK)
        if isinstance(feature, Hashed):
            return tf.where(blank[..., None], PADDING_ID, found)
        missing = PADDING_ID if padded else UNKNOWN_ID
        return tf.where(blank & (found == UNKNOWN_ID), missing, found)
