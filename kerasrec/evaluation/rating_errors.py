"""Errors of rating predictions."""

import numpy as np

from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.scoring import check_ranker, predict
from kerasrec.types import Columns, Ranker


def pointwise(
    model: Ranker,
    columns: Columns,
    *,
    clip: tuple[float, float] | None = None,
    batch_size: int = 8192,
) -> dict[str, float | int]:
    """Compute root mean squared and mean absolute error of a model's scores.

        rmse = sqrt(mean((score - label)^2)),  mae = mean(|score - label|)

    Rows with an unknown user or item count like all others, since the model has to predict them.

    Args:
        model: model of the label column of its schema.
        columns: encoded rows with every feature and the label.
        clip: lowest and highest possible rating. Scores are clipped to that range first.
        batch_size: rows per call of the model.

    Returns:
        dict with `rmse`, `mae`, `test_rows`, `unknown_user_rows` and `unknown_item_rows`.

    Raises:
        ValueError: if there are no rows, a column is missing, a label or score is NaN, or `clip` is
            not a range.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class Three:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 5), label="rating")
    ...     def __call__(self, inputs, training=False):
    ...         return np.full(inputs["item"].shape, 3.0, np.float32)
    >>> labels = np.array([4.0, 0.0])
    >>> columns = {"user": np.array([2, 3]), "item": np.array([2, 4]), "rating": labels}
    >>> pointwise(Three(), columns)["mae"]
    2.0
    """
    check_ranker(model)
    schema = model.schema
    if clip is not None and not (len(clip) == 2 and clip[0] < clip[1]):
        raise ValueError(
            f"pointwise: clip expects (lowest, highest) such as (1, 5); received {clip!r}."
        )
    names = [feature.name for feature in schema.features] + [schema.label]
    rows = check_columns(columns, names, what="pointwise")
    users = check_ids(columns[schema.user_id.name], schema.user_id, what="pointwise")
    items = check_ids(columns[schema.item_id.name], schema.item_id, what="pointwise")
    labels = np.asarray(columns[schema.label], np.float64)
    if np.isnan(labels).any():
        raise ValueError(
            f"pointwise: column {schema.label!r} expects numbers; received NaN in "
            f"{np.isnan(labels).sum()} of {rows} rows. Leave those rows out."
        )
    scores = predict(model, columns, batch_size=batch_size)
    difference = (scores if clip is None else np.clip(scores, *clip)) - labels
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "mae": float(np.mean(np.abs(difference))),
        "test_rows": rows,
        "unknown_user_rows": int((~known(users)).sum()),
        "unknown_item_rows": int((~known(items)).sum()),
    }
