"""Python client of exported models, by raw ids."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.retrieval import RecommendedItems
from kerasrec.serving.artifact.checksums import check_checksums
from kerasrec.serving.artifact.versions import StrPath, find_version
from kerasrec.serving.json_tensors import fill_rows
from kerasrec.types import RAW_PADDING


class SavedRecommender:
    """A loaded version of an exported model.

    Args:
        path: folder of the SavedModel.

    Raises:
        ValueError: if it does not load, or was not written by `kerasrec.serving.export`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        check_checksums(path)
        try:
            # The loaded object owns the tables and weights: it must live as long as the functions.
            self._loaded = tf.saved_model.load(str(path))
        except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise ValueError(
                f"load: {str(path)!r} is not a complete SavedModel: "
                f"{' '.join(str(error).split())}. Export the model again."
            ) from error

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """Return names, shapes and types of the inputs of a signature.

        Args:
            signature: one of those the version was exported with.

        Raises:
            ValueError: if the version has no such signature.
        """
        if signature not in self._loaded.signatures:
            raise ValueError(
                f"{signature}: {str(self.path)!r} has the signatures "
                f"{sorted(self._loaded.signatures)}. Export the model again with this one."
            )
        return dict(self._loaded.signatures[signature].structured_input_signature[1])

    def score(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return the scores `(batch,)` of (user, item) pairs, or of the rows of a table.

        Args:
            inputs: every feature by name, batch first, with raw ids; shorter rows of bags and
                sequences are padded.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape.
        """
        return self._call("serving_default", inputs)["score"]

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the scores `(batch,)` of rows of raw columns, and probabilities of log odds.

        Args:
            inputs: as for `score`. Numbers that are missing are NaN, texts "" and integers -1.

        Returns:
            dict of `score`, and of `probability` if the score is log odds. Of several classes both
            are `(batch, classes)`, and there are `classes`, their names, and `class`, the first.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape, or the version has
                no such signature.
        """
        return self._call("predict", inputs)

    def recommend(
        self,
        inputs: Mapping[str, Any],
        *,
        exclude: Any = None,
        allow: Any = None,
        k: int | None = None,
    ) -> RecommendedItems:
        """Return the best items for each user.

        Args:
            inputs: user id, other user features and context features by name, batch first.
            exclude: raw item ids to exclude, one list per user.
            allow: raw categories to allow, one list per user, if the version was exported with a
                filter; an empty list allows all.
            k: length of the lists, one of the exported lengths; None for the first of them.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape, or the version has
                no lists of that length.
        """
        signature = "recommend" if k is None else f"recommend_{k}"
        first = next(iter(inputs.values()), ())
        nothing: list[Any] = [[]] * (len(first) if hasattr(first, "__len__") else 0)
        limits = {"exclude": nothing if exclude is None else exclude}
        if allow is not None or "allow" in self.inputs(signature):
            limits["allow"] = nothing if allow is None else allow
        return _recommendations(self._call(signature, {**inputs, **limits}))

    def similar_items(self, items: Any) -> RecommendedItems:
        """Return the items with the largest cosine for each item, without the item itself.

        Args:
            items: raw item ids, one per list.

        Raises:
            ValueError: if an id has the wrong type, or the version has no such signature.
        """
        (name,) = self.inputs("similar_items")
        answer = self._call("similar_items", {name: items})
        return _recommendations({**answer, "fallback": answer["count"] == 0})

    def explain(self, inputs: Mapping[str, Any]) -> list[list[tuple[Any, float]]]:
        """Return what each item of a user adds to the score of a pair, the largest amount first.

        Args:
            inputs: every feature by name, batch first, with the item id to explain.

        Returns:
            For each pair, the raw item ids with their contributions, which add up to the score.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape, or the version has
                no such signature.
        """
        answer = self._call("explain", inputs)
        items, parts = answer["history"], answer["contributions"]
        order = np.argsort(-parts, axis=1, kind="stable")
        rows = (np.take_along_axis(values, order, axis=1).tolist() for values in (items, parts))
        return [
            [
                (one.decode("utf-8") if isinstance(one, bytes) else one, part)
                for one, part in zip(*row, strict=True)
                if one not in (b"", RAW_PADDING["int64"])
            ]
            for row in zip(*rows, strict=True)
        ]

    def user_embedding(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return query vectors `(batch, dim)`, whose dot products with item vectors are scores.

        Args:
            inputs: as for `recommend`.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape, or the version has
                no such signature.
        """
        return self._call("user_embedding", inputs)["embedding"]

    def item_embedding(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return item vectors `(batch, dim)`.

        Args:
            inputs: item id and other item features by name, batch first.

        Raises:
            ValueError: if a feature is missing or has the wrong type or shape, or the version has
                no such signature.
        """
        return self._call("item_embedding", inputs)["embedding"]

    def _call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        specs = self.inputs(signature)
        if set(inputs) != set(specs):
            raise ValueError(
                f"{signature}: expected the inputs {sorted(specs)}; received {sorted(inputs)}: "
                f"missing {sorted(set(specs) - set(inputs))}, unknown "
                f"{sorted(set(inputs) - set(specs))}."
            )
        arrays = {name: _array(inputs[name], spec) for name, spec in specs.items()}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"{signature}: the inputs must have the same batch size; received {lengths}."
            )
        answer = self._loaded.signatures[signature](
            **{name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}
        )
        return {name: value.numpy() for name, value in answer.items()}


def load(directory: StrPath) -> SavedRecommender:
    """Load the newest version of an exported model, or the given one.

    Args:
        directory: a version folder, or the folder that holds the versions.

    Raises:
        ValueError: if there is no version, or it does not load.

    Example:

    >>> import tempfile
    >>> from kerasrec.data import Vocabulary
    >>> from kerasrec.models import Popularity
    >>> from kerasrec.schema import Categorical, Schema
    >>> from kerasrec.serving import export
    >>> model = Popularity(Schema(user=Categorical("user", 4), item=Categorical("item", 4)))
    >>> model.adapt({"item": np.array([2, 3, 3])})
    >>> ids = {"user": Vocabulary.fit(["ann", "bob"]), "item": Vocabulary.fit(["x", "y"])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export(model, folder, vocabularies=ids, k=1)
    ...     best = load(folder).recommend({"user": ["ann"]})
    >>> best.item_id.tolist()
    [['y']]
    """
    return SavedRecommender(find_version(directory))


def _recommendations(answer: Mapping[str, np.ndarray]) -> RecommendedItems:
    """Return the answer with raw ids decoded to text."""
    items = answer["item_id"]
    if items.dtype == object:
        text = [raw.decode("utf-8") for raw in items.ravel()]
        items = np.array(text, dtype=object).reshape(items.shape)
    return RecommendedItems(items, answer["score"], answer["count"], answer["fallback"])


def _array(values: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Convert values to an array of the spec's type and shape, with shorter rows padded."""
    wanted = f"{spec.name!r}: expected {_described(spec)}"
    if not hasattr(values, "__len__") or isinstance(values, str | bytes):
        raise ValueError(f"{wanted}; received {values!r}. Pass one element for each user.")
    rows = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if spec.dtype == tf.float32:
        if spec.shape.rank > 1 and spec.shape[1] is None:
            rows = fill_rows(rows, RAW_PADDING["float32"], spec.shape.as_list()[2:])
        try:
            array: np.ndarray = np.asarray(rows, np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{wanted}; received {values!r:.100}.") from error
    elif spec.shape.rank == 1:
        array = _ids(rows, spec, wanted)
    else:
        if any(isinstance(row, str | bytes) or not hasattr(row, "__len__") for row in rows):
            raise ValueError(f"{wanted}; received {values!r:.100}. Pass one list for each user.")
        width = spec.shape[1] or max((len(row) for row in rows), default=0)
        padding = RAW_PADDING[spec.dtype.name]
        longest = max((len(row) for row in rows), default=0)
        if longest > width:
            raise ValueError(f"{wanted}; received a row of {longest}. Shorten it.")
        flat = [raw for row in rows for raw in [*row, *[padding] * (width - len(row))]]
        array = _ids(flat, spec, wanted).reshape(len(rows), width)
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(f"{wanted}; received the shape {array.shape}.")
    return array


def _ids(values: list[Any], spec: tf.TensorSpec, wanted: str) -> np.ndarray:
    """Return raw ids in one row. Text is parsed if integers are expected."""
    if spec.dtype == tf.string:
        wrong = [value for value in values if not isinstance(value, str | bytes)]
        if wrong:
            raise ValueError(f"{wanted}; received {wrong[0]!r}. Pass strings.")
        return np.array(values, dtype=object)
    try:
        if any(isinstance(value, float | bool) for value in values):
            raise ValueError("not an integer")
        return np.array([int(value) for value in values], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{wanted}; received {values!r:.100}. Pass integers.") from error


def _described(spec: tf.TensorSpec) -> str:
    kind = {"string": "strings", "int64": "64-bit integers"}.get(spec.dtype.name, "numbers")
    shape = ", ".join(["batch", *("n" if size is None else str(size) for size in spec.shape[1:])])
    return f"{kind} of shape ({shape})"
