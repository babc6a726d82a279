"""Weight constraints, and helpers for those that apply row by row."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_number
from kerasrec.types import Tensor

# Keras constraints on the norm along an axis. NonNeg works on single weights.
NORMS = (keras.constraints.MaxNorm, keras.constraints.UnitNorm, keras.constraints.MinMaxNorm)


@keras.saving.register_keras_serializable("kerasrec")
class ClipWeights(keras.constraints.Constraint):
    """Constraint that keeps every weight within [-limit, limit].

        w = clip(w, -limit, limit)

    This weight clipping bounds the effect of a single step. Use it as `row_constraint` of the
    optimizers here, or as the constraint of any Keras layer.

    Args:
        limit: largest absolute value of a weight.

    Raises:
        ValueError: if `limit` is not a finite number above 0.

    Example:

    >>> ClipWeights(0.5)([0.2, -3.0]).numpy()
    array([ 0.2, -0.5], dtype=float32)
    """

    row_wise = True

    def __init__(self, limit: float) -> None:
        check_number(self, "limit", limit, zero=False)
        self.limit = limit

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weights, clipped to the limit."""
        return ops.clip(ops.convert_to_tensor(w), -self.limit, self.limit)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"limit": self.limit}


def is_row_wise(constraint: Any, rank: int) -> bool:
    """Return whether a constraint on a table can be applied to some of its rows only.

    Args:
        constraint: a Keras constraint. A custom one declares this with the attribute
            `row_wise = True`.
        rank: number of axes of the table.

    Returns:
        True for `ClipWeights`, `NonNeg` and norms along axes other than the first.

    Example:

    >>> is_row_wise(keras.constraints.UnitNorm(axis=1), rank=2)
    True
    >>> is_row_wise(keras.constraints.UnitNorm(axis=0), rank=2)
    False
    """
    if type(constraint) in NORMS:
        axes = constraint.axis if isinstance(constraint.axis, list | tuple) else [constraint.axis]
        return all(axis is not None and -rank <= axis < rank and axis % rank for axis in axes)
    return type(constraint) is keras.constraints.NonNeg or getattr(constraint, "row_wise", False)


def get_row_constraint(name: str, constraint: Any) -> Any:
    """Deserialise and validate the `row_constraint` of an optimizer.

    Args:
        name: name of the optimizer.
        constraint: a Keras constraint, its config or None.

    Raises:
        ValueError: if it is not a constraint, or not row-wise.
    """
    found = keras.constraints.get(constraint)
    # The rank of the tables is not known yet. A table of two axes is the smallest case that
    # matters.
    if found is None or is_row_wise(found, rank=2):
        return found
    raise ValueError(
        f"{name}: row_constraint must apply to each row of a table separately, such as "
        "keras.constraints.MaxNorm(1.0, axis=1), UnitNorm(axis=1), NonNeg() or "
        "kerasrec.optimizers.ClipWeights(0.5); received "
        f"{constraint!r} {getattr(found, 'get_config', dict)()}, and the axis of Keras' norms is 0 "
        "unless you name it."
    )


def row_constraint_of(variable: keras.Variable, default: Any) -> Any:
    """Return the constraint on touched rows: the table's own if it is row-wise, or the default.

    Args:
        variable: the table.
        default: an optimizer's `row_constraint`, or None.

    Returns:
        A row-wise constraint; None if there is none, or one that needs the whole table.

    Raises:
        ValueError: if the default does not fit the shape of the table.
    """
    own, rank = variable.constraint, len(variable.shape)
    constraint = default if own is None else own
    if constraint is None or is_row_wise(constraint, rank):
        return constraint
    if own is None:
        raise ValueError(
            f"row_constraint {type(default).__name__} {default.get_config()} does not fit the "
            f"table {variable.path!r} of shape {tuple(variable.shape)}. Give it a constraint of "
            "its own."
        )
    return None
