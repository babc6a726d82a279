"""Specification of an export, validated and computed once, then read by every writer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasrec._checks import check_choice
from kerasrec.calibration import Calibration, calibration_of
from kerasrec.data.encoding.vocabulary import KeyedTable, Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.retrieval.columns import candidate_columns, check_vocabularies, side_columns
from kerasrec.retrieval.item_vectors import item_vectors
from kerasrec.retrieval.vector_table import KINDS
from kerasrec.schema import Categorical, Feature, Hashed, Schema
from kerasrec.serving.parts import Parts, float32_copy, in_float32, parts_of
from kerasrec.serving.pipeline import Pipeline
from kerasrec.serving.quantization import round_tables
from kerasrec.serving.raw_ids import check_names, filter_space, vocabulary_names
from kerasrec.serving.signatures import (
    SERVING_DEFAULT,
    choose_signatures,
    default_signature,
    list_lengths,
)
from kerasrec.types import Columns, known_by, output_kind

DEFAULT_K = 10


@dataclasses.dataclass(frozen=True, eq=False)
class ExportSpec:
    """Everything that an export is made from, and the values derived from it.

    The served graph, its sidecar files, the recorded answers and the model card all read the same
    specification. Create it with `make_spec`.

    Attributes:
        model: the model as passed by the caller.
        schema: the features of the model.
        vocabularies: vocabulary of every feature with its own ids, and of the filter.
        users: user features that requests need not send, by encoded id, without the id.
        items: item features, likewise: all of them.
        tables: joined tables by key, of which some columns are features.
        candidates: encoded item features of the catalogue, one row per item, ordered by id; empty
            for a table, which has no items.
        ks: lengths of the recommended lists; none for a table.
        signatures: names of the signatures.
        filter_by: column of the items that recommendations can be filtered by.
        quantize: storage of the tables of vectors, see `VectorTable`.
        exact: the model, or a float32 copy if it computes in another dtype.
        rounded: a copy with its tables rounded as stored; `exact` for float32 tables.
        item_vectors: exact vectors of the catalogue `(items, dim)`; None without a retriever.
        dtypes: dtype of the raw values of each feature: "string", "int64" or "float32".
        known_by: names of the features that tell who asks, see `kerasrec.types.known_by`.
        category_space: name of the vocabulary of the filter; None without a filter.
        classes: names of the classes of a model with a logit for each; none for one score.
    """

    model: Any
    schema: Schema
    vocabularies: Mapping[str, Any]
    users: Columns
    items: Columns
    tables: Mapping[str, KeyedTable]
    candidates: Columns
    ks: tuple[int, ...]
    signatures: tuple[str, ...]
    filter_by: str | None
    quantize: str
    exact: Parts
    rounded: Parts
    item_vectors: np.ndarray | None
    dtypes: Mapping[str, str]
    known_by: tuple[str, ...]
    category_space: str | None
    classes: tuple[str, ...] = ()

    @property
    def has_items(self) -> bool:
        """Return whether there is a catalogue to recommend from. A model without one is a table."""
        return bool(self.schema.item)

    @property
    def lists(self) -> dict[str, int]:
        """Return the list length of each signature that recommends."""
        every = [
            *(("recommend", k) for k in self.ks[:1]),
            *((f"recommend_{k}", k) for k in self.ks),
        ]
        return {name: k for name, k in every if name in self.signatures}

    def written_as(self, signature: str) -> str:
        """Return the name of a signature, and for the default one its other name."""
        default = signature == SERVING_DEFAULT
        return default_signature(self.schema) if default else signature

    @property
    def is_logit(self) -> bool:
        """Return whether the score is a logit of the label, which has a probability."""
        return output_kind(self.model) == "logit"

    @property
    def calibration(self) -> Calibration:
        """Return how a score becomes the probability of the label."""
        return calibration_of(self.model)

    @property
    def stored(self) -> dict[str, Columns]:
        """Return the stored features of users, items and joined tables, by the name of the id.

        That of a table is `row_of` its key, since its keys are others than those that the model
        knows.
        """
        schema, found = self.schema, {}
        if schema.user:
            found[schema.user_id.name] = self.users
        if schema.item:
            found[schema.item_id.name] = self.items
        return found | {row_of(key): table.columns for key, table in self.tables.items()}

    @property
    def item_vocabulary(self) -> Vocabulary:
        """Return the vocabulary of the item id."""
        found: Vocabulary = self.vocabularies[self.schema.item_id.name]
        return found

    def requested(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        """Return the features that a request sends: those that are not stored, and keys."""
        stored = {name for table in self.stored.values() for name in table}
        return tuple(f for f in self.with_keys(features) if f.name not in stored)

    def with_keys(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        """Return features and, behind them, the keys of their tables that are no features."""
        names = {feature.name for feature in features}
        known = {feature.name for feature in self.schema.features}
        keys = [
            Categorical(key, table.keys.num_ids)
            for key, table in self.tables.items()
            if key not in known and names & set(table.columns)
        ]
        return (*features, *keys)

    @property
    def item_ids(self) -> np.ndarray:
        """Return the encoded ids of the catalogue `(items,)`, ascending."""
        return self.candidates[self.schema.item_id.name]

    @property
    def num_categories(self) -> int:
        """Return the number of category ids of the filter; 0 without a filter."""
        return 0 if self.category_space is None else self.vocabularies[self.category_space].num_ids

    @property
    def categories(self) -> np.ndarray | None:
        """Return the encoded categories of the catalogue `(items, n)`; None without a filter."""
        if self.filter_by is None:
            return None
        return self.candidates[self.filter_by].reshape(len(self.item_ids), -1)

    @property
    def compares_items(self) -> bool:
        """Return whether `similar_items` or a reranker compares items with each other."""
        pipeline = self.exact.pipeline
        reranks = pipeline is not None and pipeline.reranker is not None
        return reranks or "similar_items" in self.signatures


def make_spec(
    model: Any,
    vocabularies: Mapping[str, Encoder],
    *,
    users: Columns | None = None,
    items: Columns | None = None,
    tables: Mapping[str, KeyedTable] | None = None,
    candidates: Any = None,
    k: int | Sequence[int] | None = None,
    signatures: Sequence[str] | None = None,
    filter_by: str | None = None,
    quantize: str = "float32",
) -> ExportSpec:
    """Validate the arguments of an export and compute the values derived from them.

    Args:
        model: a built Keras model with a `schema`. All arguments are those of `export`.
        vocabularies: vocabulary by feature name.
        users: encoded user features by encoded id, or None.
        items: encoded item features by encoded id, or None.
        tables: joined tables by key, or None.
        candidates: encoded item ids, or None.
        k: length of the lists, or several; None for 10.
        signatures: names, or None for all.
        filter_by: column of the items with categories.
        quantize: storage of tables of vectors.

    Raises:
        ValueError: as `export` does.
    """
    parts = parts_of(model)
    _check_model(parts)
    schema: Schema = model.schema
    _check_side(schema, "user", users=users)
    _check_side(schema, "item", k=k, items=items, candidates=candidates, filter_by=filter_by)
    check_choice("export", "quantize", quantize, KINDS)
    exact = rounded = in_float32(parts)
    if quantize != "float32":
        rounded = float32_copy(model)
        round_tables(rounded.whole, quantize)
    check_names(schema, filter_by, tables or ())
    names = vocabulary_names(schema, filter_by)
    used = check_vocabularies("export", schema, vocabularies, names)
    joined = _tables_of(schema, used, tables)
    space = None if filter_by is None else filter_space(schema, filter_by)
    if space is not None and not isinstance(used[space], Vocabulary):
        raise ValueError(
            f"export: filter_by={filter_by!r} names numbers in buckets or hashed values; expected "
            "a column of categories, which requests can name."
        )
    ks: tuple[int, ...] = ()
    columns: Columns = {}
    if schema.item:
        categories = 0 if space is None else used[space].num_ids
        columns = candidate_columns("export", schema, items, candidates, filter_by, categories)
        k = DEFAULT_K if k is None else k
        if parts.pipeline is not None:
            _check_pipeline(parts.pipeline, k, filter_by)
        ks = list_lengths(k, len(columns[schema.item_id.name]))
    vectors = None if exact.retriever is None else item_vectors(exact.retriever, columns)
    return ExportSpec(
        model=model,
        schema=schema,
        vocabularies=used,
        users=side_columns("export", schema, "user", users),
        items=side_columns("export", schema, "item", items),
        tables=joined,
        candidates=columns,
        ks=ks,
        signatures=choose_signatures(parts, ks, signatures),
        filter_by=filter_by,
        quantize=quantize,
        exact=exact,
        rounded=rounded,
        item_vectors=vectors,
        dtypes={
            feature.name: feature.raw_dtype
            if not feature.has_ids
            else used[schema.id_space(feature.name)].dtype
            for feature in schema.features
        }
        | {key: table.keys.dtype for key, table in joined.items()},
        known_by=known_by(parts.retriever or model),
        category_space=space,
        classes=_classes(model, vocabularies),
    )


def _check_model(parts: Parts) -> None:
    """Check that a model can be exported."""
    model = parts.whole
    if not isinstance(model, keras.Model) or not isinstance(getattr(model, "schema", None), Schema):
        raise ValueError(
            "export: model must be a Keras model with a `schema`, such as those of "
            f"kerasrec.models; received {type(model).__name__}."
        )
    for part in (parts.retriever, parts.ranker):
        if part is not None and not isinstance(part, keras.Model):
            raise ValueError(
                "export: the models of a pipeline must be Keras models; received "
                f"{type(part).__name__}."
            )
    if output_kind(model) == "logits" and model.schema.item:
        raise ValueError(
            f"export: the logits of several classes rank nothing; received {type(model).__name__} "
            "with num_classes and items. Train it with num_classes=None, or save it by keras' "
            "model.export."
        )
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.value, np.float32)).all():
            raise ValueError(
                f"export: weight {weight.path!r} holds NaN or infinity. Training diverged: lower "
                "the learning rate or clip gradients, and train again."
            )


def row_of(key: str) -> str:
    """Return the name under which the row of a joined table is known. No column has it."""
    return f"row of {key}"


def _tables_of(
    schema: Schema, vocabularies: Mapping[str, Encoder], tables: Mapping[str, KeyedTable] | None
) -> dict[str, KeyedTable]:
    """Return the joined tables with the columns that are features.

    Raises:
        ValueError: if a table does not fit the schema, or its keys cannot be sent.
    """
    if tables and schema.item:
        raise ValueError(
            f"export: tables are for models without items; received {list(tables)}. Pass the "
            "features of users and items as users= and items=."
        )
    found: dict[str, KeyedTable] = {}
    taken: set[str] = set()
    for key, table in (tables or {}).items():
        if not isinstance(table, KeyedTable):
            raise ValueError(
                f"export: tables[{key!r}] must be a kerasrec.data.KeyedTable; received "
                f"{type(table).__name__}. Pass PreparedExamples.tables."
            )
        features = [f for f in schema.features if f.name in table.columns]
        for feature in features:
            column = table.columns[feature.name]
            if column.shape[1:] != feature.shape or column.dtype != feature.dtype:
                raise ValueError(
                    f"export: tables[{key!r}] has {column.dtype} {column.shape[1:]} for "
                    f"{feature.name!r}; expected {feature.dtype} {feature.shape}. Pass the "
                    "tables of the rows that the model was trained on."
                )
            if feature.name in taken or feature.name == key:
                raise ValueError(
                    f"export: {feature.name!r} can be found in one table alone; received it in "
                    f"tables[{key!r}] too. Leave it out of one."
                )
        own = next((f for f in schema.features if f.name == key), None)
        if own is not None and (
            not isinstance(own, Categorical | Hashed)
            or vocabularies[schema.id_space(key)].dtype != table.keys.dtype
        ):
            raise ValueError(
                f"export: requests send {key!r} once, and the model reads it as {own.kind}, not as "
                f"the {table.keys.dtype} keys of a table. Train with features={{{key!r}: "
                "'categorical'}, or leave tables= out, and requests send the joined columns."
            )
        taken |= {feature.name for feature in features}
        if features:
            found[key] = KeyedTable(table.keys, {f.name: table.columns[f.name] for f in features})
    return found


def _classes(model: Any, vocabularies: Mapping[str, Encoder]) -> tuple[str, ...]:
    """Return the names of the classes of a model: those of the label, or their numbers.

    Raises:
        ValueError: if there is another number of names than of logits.
    """
    if output_kind(model) != "logits":
        return ()
    found: Any = vocabularies.get(model.schema.label)
    if found is None:
        return tuple(str(number) for number in range(model.num_classes))
    if len(found) != model.num_classes:
        raise ValueError(
            f"export: the model has {model.num_classes} logits; received {len(found)} classes of "
            f"{model.schema.label!r} in vocabularies. Pass those of the rows it was trained on."
        )
    return tuple(map(str, found.ids))


def _check_side(schema: Schema, side: str, **given: Any) -> None:
    """Check that nothing is given for a side that the schema does not have."""

    def says_something(value: Any) -> bool:
        return len(value) > 0 if isinstance(value, Mapping) else value is not None

    received = [name for name, value in given.items() if says_something(value)]
    if received and not getattr(schema, side):
        raise ValueError(
            f"export: a model without {side} features takes none of {', '.join(given)}; received "
            f"{', '.join(received)}. Leave it out, or train with the {side} id in the schema."
        )


def _check_pipeline(pipeline: Pipeline, k: Any, filter_by: str | None) -> None:
    longest = max(k) if isinstance(k, Sequence) and k else k
    if isinstance(longest, int) and longest > pipeline.retrieve:
        raise ValueError(
            f"export: a pipeline that retrieves {pipeline.retrieve} items recommends at most as "
            f"many; received k={longest}. Build it with a larger retrieve=."
        )
    if pipeline.reranker is not None and pipeline.reranker.needs_categories and filter_by is None:
        raise ValueError(
            f"export: {type(pipeline.reranker).__name__} needs the categories of the items: pass "
            "filter_by=, the column of items that holds them."
        )
