"""Positives: rows whose label marks a choice of the user."""

from collections.abc import Mapping

import numpy as np

from kerasrec.data.encoding import columns as check
from kerasrec.data.encoding.columns import LazyColumn
from kerasrec.schema import Schema


def positives(
    columns: Mapping[str, np.ndarray | LazyColumn], schema: Schema
) -> dict[str, np.ndarray | LazyColumn]:
    """Select the rows that are positives, and give them the label 1.

    This is for trainers that take every row as a positive, such as
    `kerasrec.training.SampledSoftmaxTrainer`. `with_negatives`, `shared_negatives`, `next_items`,
    `Popularity` and the rankings of `kerasrec.evaluation` apply the same rule, `Schema.positive`,
    by themselves.

    Args:
        columns: encoded columns. Without the label of the schema, every row is a positive.
        schema: schema with the label's name and the rule for positives.

    Returns:
        The columns with the positive rows only, in order, with ones as the label.

    Raises:
        ValueError: if no row is a positive, or the label holds no finite numbers.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(Categorical("user", 4), Categorical("item", 6), positive=">=4")
    >>> columns = {"user": np.array([2, 3]), "item": np.array([4, 5]), "label": np.array([3, 5])}
    >>> {name: values.tolist() for name, values in positives(columns, schema).items()}
    {'user': [3], 'item': [5], 'label': [1.0]}
    """
    rows = positive_rows(columns, schema, "positives")
    kept: dict[str, np.ndarray | LazyColumn] = {
        name: values.take(rows) if isinstance(values, LazyColumn) else np.asarray(values)[rows]
        for name, values in columns.items()
    }
    return {**kept, schema.label: np.ones(len(rows), np.float32)}


def positive_rows(
    columns: Mapping[str, np.ndarray | LazyColumn], schema: Schema, owner: str
) -> np.ndarray:
    """Return the positions of the rows that are positives, at least one."""
    mask = is_positive(columns, schema, owner)
    rows = np.flatnonzero(mask)
    if not len(rows):
        raise ValueError(no_positive(len(mask), schema, owner))
    return rows


def is_positive(
    columns: Mapping[str, np.ndarray | LazyColumn], schema: Schema, owner: str
) -> np.ndarray:
    """Mark the rows that are positives: a mask `(rows,)`, all True without a label column."""
    if schema.label not in columns:
        rows = len(check.column(columns, schema.item_id.name, owner))
        return np.ones(rows, bool)
    return np.asarray(schema.is_positive(check.numbers(columns, schema.label, owner)))


def no_positive(rows: int, schema: Schema, owner: str) -> str:
    """Return the error message for rows without any positive."""
    return (
        f"{owner}: none of {rows:,} rows has a {schema.label!r} {schema.positive}, so none is a "
        "positive. Give rows with such labels, or say in the schema which labels are positives: "
        "make_schema(..., positive='>=4'), --positive \">=4\" on the command line."
    )
