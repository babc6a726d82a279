"""Class weights for labels with a candidate or step axis."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops


def by_element(options: dict[str, Any], loss: Any) -> dict[str, Any]:
    """Turn `class_weight` of `fit` into sample weights where Keras would use the wrong class.

    Keras takes labels `(batch, n)` for one-hot rows and weights each row by the class at its
    argmax. For labels with an axis of candidates or steps, that is the position of the positive,
    whatever the negatives are. Here, each label has the weight of its own class, times the given
    sample weight. Labels of a categorical loss are one-hot rows and left to Keras.

    Raises:
        ValueError: if the weights are not numbers of classes 0, 1, ... or sample weights cannot be
            added to the data.
    """
    weights = options["class_weight"]
    if weights is None or _is_one_hot(loss):
        return options
    x, label = options["x"], options["y"]
    if hasattr(x, "element_spec"):
        _, label, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
    elif isinstance(x, keras.utils.PyDataset):
        _, label, _ = keras.utils.unpack_x_y_sample_weight(x[0])
    if not _has_an_axis(label):
        return options
    table = _table(weights)
    if hasattr(x, "element_spec"):
        return {**options, "x": _mapped(x, table), "class_weight": None}
    if label is not options["y"]:
        raise ValueError(
            f"fit: class_weight of labels {tuple(label.shape)} is by element, which is "
            f"not possible for a {type(x).__name__}; received class_weight={weights!r}. "
            "Return (features, label, weight) from it, with the weight of each label, and no "
            "class_weight."
        )
    given = options["sample_weight"]
    found = _weight(np.asarray(label), given, table)
    return {**options, "sample_weight": np.asarray(found), "class_weight": None}


def _is_one_hot(loss: Any) -> bool:
    names = []
    for one in keras.tree.flatten(loss):
        name = one if isinstance(one, str) else getattr(one, "name", getattr(one, "__name__", ""))
        names.append(str(name).lower())
    return any("categorical" in name and "sparse" not in name for name in names)


def _has_an_axis(label: Any) -> bool:
    """Return whether labels are an array with more than one number per row."""
    shape = getattr(label, "shape", None)
    return shape is not None and len(shape) > 1 and (len(shape) > 2 or shape[-1] != 1)


def _table(weights: Any) -> np.ndarray:
    """Return weights by class, with 1 for classes that are not given."""
    wrong = not isinstance(weights, Mapping) or not weights
    wrong = wrong or any(
        isinstance(name, bool) or not isinstance(name, int | np.integer) or name < 0
        for name in weights
    )
    if wrong:
        raise ValueError(
            "fit: class_weight must be a dict of a weight for each class 0, 1, ...; received "
            f"{weights!r}."
        )
    table = np.ones(max(weights) + 2, "float32")  # the last one serves all higher classes
    for name, weight in weights.items():
        table[name] = weight
    return table


def _mapped(dataset: Any, table: np.ndarray) -> Any:
    if not hasattr(dataset, "map"):
        raise ValueError(
            f"fit: class_weight of labels with more than one axis is by element, which is "
            f"not possible for a {type(dataset).__name__}. Map the dataset to (features, "
            "label, weight) before it is distributed, with the weight of each label."
        )

    def weighted(*batch: Any) -> tuple[Any, Any, Any]:
        x, y, given = keras.utils.unpack_x_y_sample_weight(batch)
        return x, y, _weight(y, given, table)

    made = dataset.map(weighted)
    part = getattr(dataset, "part", None)
    if part is not None:
        made.part = part
    return made


def _weight(label: Any, given: Any, table: np.ndarray) -> Any:
    """Return the weight of each label."""
    classes = ops.cast(ops.round(label), "int32")
    known = ops.logical_and(classes >= 0, classes < len(table))
    weights = ops.take(ops.convert_to_tensor(table), ops.where(known, classes, len(table) - 1))
    if given is None:
        return weights
    given = ops.cast(given, "float32")
    while len(given.shape) < len(weights.shape):
        given = ops.expand_dims(given, -1)
    return weights * given


def losses_by_element(y: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Add an axis to labels and scores if each of them has its own weight.

    Keras averages a loss over the last axis before it applies weights. With `(batch, n)` labels and
    `(batch, n)` weights, it would multiply each mean with each weight.
    """
    if not all(hasattr(part, "shape") for part in (y, y_pred, sample_weight)):
        return y, y_pred
    shapes = [part.shape for part in (y, y_pred, sample_weight)]
    rank = len(shapes[0])
    alike = all(len(shape) == rank for shape in shapes)
    if rank < 2 or not alike or any(shape[-1] == 1 for shape in shapes):
        return y, y_pred
    return ops.expand_dims(y, -1), ops.expand_dims(y_pred, -1)
