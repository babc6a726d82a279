"""Two-tower models of tensorflow-recommenders (TFRS) to retrievers, and retrievers to its indexes.

Towers of TFRS take raw ids, since their lookups are layers. Each tower is called with every raw id
of a vocabulary, whatever its layers are, and its vectors become the table of a Keras 3 model. That
model needs neither TFRS nor Keras 2, on which TFRS is built.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.models import MatrixFactorization
from kerasrec.schema import FIRST_ID, UNKNOWN_ID, Categorical, Schema
from kerasrec.types import Columns, Retriever

Tower = Callable[[Any], Any]

BATCH = 4096
# No vocabulary contains these: integers are at least 0, and texts contain no line breaks.
_UNKNOWN = {"int64": -1, "string": "\n"}
_TOWER_ERRORS = (TypeError, ValueError, tf.errors.OpError)


def import_tfrs() -> ModuleType:
    """Import tensorflow_recommenders.

    Raises:
        ImportError: if it is not installed, or `tf.keras` is not Keras 2.
    """
    try:
        import tensorflow_recommenders
    except ImportError as error:
        raise ImportError(
            f"kerasrec.interop: tensorflow_recommenders cannot be imported ({error}). It is built "
            "on Keras 2, and tf.keras is Keras 2 only where the environment variable "
            "TF_USE_LEGACY_KERAS=1 is set before TensorFlow is imported. Set it in the shell, or "
            'start the program with os.environ["TF_USE_LEGACY_KERAS"] = "1". Keras 3 and kerasrec '
            "work in the same process."
        ) from error
    return tensorflow_recommenders


def from_tfrs(
    query_tower: Tower,
    candidate_tower: Tower,
    *,
    schema: Schema,
    vocabularies: Mapping[str, Vocabulary],
    user_features: Mapping[str, Any] | None = None,
    item_features: Mapping[str, Any] | None = None,
) -> MatrixFactorization:
    """Convert two trained towers to a retriever with the same scores.

        score(u, i) = <query_tower(u), candidate_tower(i)>

    The vectors of all users and items of the vocabularies become the tables of a
    `MatrixFactorization` without biases, which is evaluated, exported, saved and trained like any
    other. The unknown id gets the vector that a tower returns for an id outside its lookup. It gets
    zeros if the tower raises an error for such an id, or reads features beside the id.

    Args:
        query_tower: maps raw user ids `(batch,)` to vectors `(batch, dim)`. A Keras 2 model, a
            loaded SavedModel or a function.
        candidate_tower: maps raw item ids in the same way.
        schema: names the user id, the item id, the label and its positives. Other features are
            ignored: a tower may read properties of the user or of the item only.
        vocabularies: raw ids of the users and of the items, of the type that the towers take.
            Unknown users are served the items with the highest counts.
        user_features: raw columns by name, one row a user in any order, with the user id among
            them. The query tower then takes a dict of these columns.
        item_features: the same for the items.

    Raises:
        ValueError: if a vocabulary is missing, a tower raises an error for its ids, a vocabulary
            has ids without features, or vectors are not finite or differ in length.

    Example:

    >>> users, items = Vocabulary.fit(["ann", "bob"]), Vocabulary.fit([7, 8, 9])
    >>> model = from_tfrs(
    ...     lambda ids: tf.stack([tf.ones(len(ids)), tf.zeros(len(ids))], axis=1),
    ...     lambda ids: tf.stack([tf.cast(ids, tf.float32), tf.ones(len(ids))], axis=1),
    ...     schema=Schema(Categorical("user", 4), Categorical("item", 5)),
    ...     vocabularies={"user": users, "item": items},
    ... )
    >>> model({"user": users.encode(["bob"]), "item": items.encode([9])}).numpy()
    array([9.], dtype=float32)
    """
    user, item = schema.user_id.name, schema.item_id.name
    _check_vocabularies(vocabularies, (user, item))
    queries = _vectors("query", query_tower, vocabularies[user], user, user_features)
    candidates = _vectors("candidate", candidate_tower, vocabularies[item], item, item_features)
    if queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            "from_tfrs: both towers must return vectors of one length; received "
            f"{queries.shape[1]} of the query tower and {candidates.shape[1]} of the candidate "
            "tower. Pass the two towers of one model."
        )
    user_id, item_id = (
        Categorical(name, vocabularies[name].num_ids, fingerprint=vocabularies[name].fingerprint)
        for name in (user, item)
    )
    model = MatrixFactorization(
        Schema((user_id,), (item_id,), label=schema.label, positive=schema.positive),
        embedding_dim=queries.shape[1],
        use_bias=False,
    )
    model.user_vectors.embeddings.assign(queries)
    model.item_vectors.embeddings.assign(candidates)
    return model


def fill_tfrs_index(
    index: Any,
    model: Retriever,
    vocabularies: Mapping[str, Vocabulary],
    *,
    items: Columns | None = None,
) -> Any:
    """Fill an index of TFRS with the item vectors of a retriever.

    `index(model.query_embedding(columns))` then returns scores and raw item ids.

    Args:
        index: a `tfrs.layers.factorized_top_k.BruteForce`, `ScaNN` or `Streaming`.
        model: a trained retriever.
        vocabularies: the vocabularies that encoded its training data.
        items: encoded item features with one row for each encoded id, as `PreparedData.items`;
            None if the id is the only item feature.

    Returns:
        The index.

    Raises:
        ImportError: see `import_tfrs`.
        ValueError: if `index` or `model` is of another kind, or `items` lacks a feature.
    """
    kind = import_tfrs().layers.factorized_top_k.TopK
    if not isinstance(index, kind) or not isinstance(model, Retriever):
        raise ValueError(
            "fill_tfrs_index: expected an index of tfrs.layers.factorized_top_k and a retriever, "
            "with query_embedding and item_embedding; received "
            f"{type(index).__name__} and {type(model).__name__}."
        )
    item = model.schema.item_id
    _check_vocabularies(vocabularies, (item.name,))
    model.schema.check_fingerprints(
        {item.name: vocabularies[item.name].fingerprint}, owner="fill_tfrs_index: received"
    )
    columns = {**(items or {}), item.name: np.arange(item.num_ids, dtype=np.int32)}
    if missing := [f.name for f in model.schema.item if f.name not in columns]:
        raise ValueError(
            f"fill_tfrs_index: the items also have the features {missing}. Pass items=, a dict of "
            "these encoded columns with one row for each encoded id."
        )
    ids = vocabularies[item.name].ids
    vectors = [
        np.asarray(
            model.item_embedding(
                {f.name: columns[f.name][start : start + BATCH] for f in model.schema.item}
            ),
            np.float32,
        )
        for start in range(FIRST_ID, item.num_ids, BATCH)
    ]
    rows = tf.data.Dataset.from_tensor_slices((ids.tolist(), np.concatenate(vectors)))
    return index.index_from_dataset(rows.batch(BATCH))


def _check_vocabularies(vocabularies: Mapping[str, Vocabulary], names: tuple[str, ...]) -> None:
    missing = [n for n in names if not isinstance(vocabularies.get(n), Vocabulary)]
    if missing:
        raise ValueError(
            f"kerasrec.interop: expected the vocabularies {list(names)}; received "
            f"{sorted(vocabularies)}, missing {missing}. Fit them by data.fit_vocabularies, or "
            "create data.Vocabulary from the ids in the lookups of the towers."
        )


def _vectors(
    kind: str,
    tower: Tower,
    vocabulary: Vocabulary,
    name: str,
    features: Mapping[str, Any] | None,
) -> np.ndarray:
    """Return vectors `(num_ids, dim)` of padding, the unknown id and all ids of a vocabulary."""
    inputs: Any = vocabulary.ids
    if features is not None:
        inputs = _in_order(kind, vocabulary, name, features)
    found = []
    for start in range(0, len(vocabulary), BATCH):
        rows = slice(start, start + BATCH)
        batch = tf.nest.map_structure(lambda column, rows=rows: _tensor(column[rows]), inputs)
        try:
            vectors = np.asarray(tower(batch), np.float32)
        except _TOWER_ERRORS as error:
            raise ValueError(
                f"from_tfrs: the {kind} tower raised an error for {_describe(batch)}: "
                f"{_first_line(error):.300}. Expected ids of the type that its lookup takes: read "
                "the data with id_type=. If it reads features beside the id, pass them as "
                f"{'user' if kind == 'query' else 'item'}_features=."
            ) from error
        if vectors.ndim != 2 or len(vectors) != len(vocabulary.ids[rows]):
            raise ValueError(
                f"from_tfrs: the {kind} tower must return vectors (batch, dim); received "
                f"{vectors.shape} for {len(vocabulary.ids[rows])} ids."
            )
        found.append(vectors)
    vectors = np.concatenate(found)
    if not np.isfinite(vectors).all():
        raise ValueError(
            f"from_tfrs: the {kind} tower returns NaN or infinity for "
            f"{(~np.isfinite(vectors)).any(axis=1).sum()} of {len(vectors)} ids. Its training "
            "diverged: train it again with a lower learning rate."
        )
    table = np.zeros((vocabulary.num_ids, vectors.shape[1]), np.float32)
    table[FIRST_ID:] = vectors
    if features is None:
        table[UNKNOWN_ID] = _unknown(tower, vocabulary, vectors.shape[1])
    return table


def _unknown(tower: Tower, vocabulary: Vocabulary, dim: int) -> np.ndarray:
    """Return the vector of an id outside the lookup of a tower, zeros if it has none."""
    try:
        vector = np.asarray(tower(tf.constant([_UNKNOWN[vocabulary.dtype]])), np.float32)
    except _TOWER_ERRORS:  # a lookup without out-of-vocabulary index, or an embedding of integers
        return np.zeros(dim, np.float32)
    return np.where(np.isfinite(vector[0]), vector[0], 0)


def _in_order(
    kind: str, vocabulary: Vocabulary, name: str, features: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return columns with a row for each id, in the order of the vocabulary."""
    columns = {key: np.asarray(column) for key, column in features.items()}
    lengths = {key: len(column) for key, column in columns.items()}
    if name not in columns or len(set(lengths.values())) > 1:
        raise ValueError(
            f"from_tfrs: the features of the {kind} tower must be columns of one length, with the "
            f"raw ids in {name!r}; received the lengths {lengths}."
        )
    encoded = vocabulary.encode(columns[name])
    last = np.full(vocabulary.num_ids, -1)
    last[encoded] = np.arange(len(encoded))
    rows = last[FIRST_ID:]
    if (rows < 0).any():
        raise ValueError(
            f"from_tfrs: expected features of the {kind} tower for all {len(rows)} ids of the "
            f"vocabulary; {(rows < 0).sum()} have none, such as "
            f"{vocabulary.ids.tolist()[np.argmax(rows < 0)]!r}. Add a row for each."
        )
    return {key: column[rows] for key, column in columns.items()}


def _tensor(column: np.ndarray) -> tf.Tensor:
    return tf.constant(column.tolist() if column.dtype.kind in "OU" else column)


def _describe(batch: Any) -> str:
    if isinstance(batch, dict):
        return f"the features { ({name: column.dtype.name for name, column in batch.items()}) }"
    return f"raw ids of type {batch.dtype.name}, such as {batch.numpy().tolist()[0]!r}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
