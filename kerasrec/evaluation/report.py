"""One model in figures, several models side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.full_ranking import ranking
from kerasrec.evaluation.queries import SeenColumns, seen_parts
from kerasrec.evaluation.rating_errors import pointwise
from kerasrec.evaluation.sampling import Candidates
from kerasrec.schema import Schema
from kerasrec.types import Columns, Features, Ranker

Row = dict[str, float | int | str]

_BASELINE = "popularity"


def evaluate(
    model: Ranker,
    test: Columns,
    *,
    seen: SeenColumns = None,
    k: int | Sequence[int] = (10,),
    candidates: np.ndarray | Candidates | None = None,
    items: Columns | None = None,
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
) -> Row:
    """All figures of one model in one dict: `ranking`, and `pointwise` on demand.

    Args:
        model: what is evaluated.
        test: encoded test rows.
        seen: see `ranking`.
        k: see `ranking`.
        candidates: see `ranking`.
        items: see `ranking`.
        ratings: whether the model predicts the label column, so that `rmse` and `mae` mean
            something. Off for models trained to rank.
        clip: see `pointwise`.

    Returns:
        dict with the keys of `ranking`, before them `rmse` and `mae` if `ratings`.

    Raises:
        ValueError: see `ranking` and `pointwise`; or if `clip` is given without `ratings`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> evaluate(HighestId(), {"user": np.array([2]), "item": np.array([10])}, k=1)["mrr"]
    0.5
    """
    if clip is not None and not ratings:
        raise ValueError(
            f"evaluate: clip={clip!r} bounds predicted ratings, which are not evaluated. Pass "
            "ratings=True if the model predicts the label, or leave clip out."
        )
    errors: Row = {}
    if ratings:
        found = pointwise(model, test, clip=clip)
        errors = {"rmse": found["rmse"], "mae": found["mae"]}
    return errors | ranking(model, test, seen=seen, k=k, candidates=candidates, items=items)


def compare(
    models: Mapping[str, Ranker],
    test: Columns,
    *,
    seen: SeenColumns,
    k: int | Sequence[int] = (10,),
    candidates: np.ndarray | Candidates | None = None,
    items: Columns | None = None,
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
) -> list[Row]:
    """Evaluates several models on the same rows, beside the popularity of the items.

    The row `popularity` ranks items by their number of rows in `seen` and predicts no ratings; it
    is added first unless a model has that name.

    Args:
        models: models by name; all share one schema's id spaces.
        test: encoded test rows.
        seen: see `ranking`; also what popularity counts.
        k: see `ranking`.
        candidates: see `ranking`.
        items: see `ranking`.
        ratings: see `evaluate`.
        clip: see `pointwise`.

    Returns:
        One dict per model with its name under `model` and the figures of `evaluate`.

    Raises:
        ValueError: see `evaluate`; or if there is no model, or no seen row to count.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> train = {"user": np.array([2, 2, 3]), "item": np.array([11, 5, 5])}
    >>> test = {"user": np.array([2, 3]), "item": np.array([10, 11])}
    >>> rows = compare({"highest id": HighestId()}, test, seen=train, k=1)
    >>> [(row["model"], row["hr@1"]) for row in rows]
    [('popularity', 0.5625), ('highest id', 1.0)]
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError(
            f"compare: expected a dict of models by name; received {models!r:.80}. "
            "Pass for example {'mf': model}."
        )
    shared: dict[str, Any] = {"seen": seen, "k": k, "candidates": candidates, "items": items}
    rows: list[Row] = []
    if _BASELINE not in {name.casefold() for name in models}:
        schema = next(iter(models.values())).schema
        rows.append({"model": _BASELINE, **evaluate(_MostSeen(schema, seen), test, **shared)})
    for name, model in models.items():
        figures = evaluate(model, test, ratings=ratings, clip=clip, **shared)
        rows.append({"model": name, **figures})
    return rows


class _MostSeen:
    """Scores an item by how often it was seen."""

    def __init__(self, schema: Schema, seen: SeenColumns) -> None:
        self.schema = schema
        counts = np.zeros(schema.item_id.num_ids, np.int64)
        for part in seen_parts(seen):
            check_columns(part, [schema.item_id.name], what="seen")
            ids = check_ids(part[schema.item_id.name], schema.item_id, what="seen")
            counts += np.bincount(ids[known(ids)], minlength=len(counts))
        if not counts.any():
            raise ValueError(
                "compare: popularity counts the rows of `seen`; received none. Pass the encoded "
                "training rows."
            )
        # The rank of a count instead of the count: exact in float32 however large counts grow.
        self._rank = np.unique(counts, return_inverse=True)[1].astype(np.float32)

    def __call__(self, inputs: Features, training: bool = False) -> np.ndarray:
        return self._rank[inputs[self.schema.item_id.name]]

    def query_embedding(self, inputs: Features) -> np.ndarray:
        return np.ones((len(inputs[self.schema.user_id.name]), 1), np.float32)

    def item_embedding(self, inputs: Features) -> np.ndarray:
        return self._rank[inputs[self.schema.item_id.name]][:, None]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of figures as an aligned text table.

    Floats get four decimals, missing values a dash. Counts and texts that are the same in every
    row stand below the table instead of in a column.

    Args:
        rows: dicts, such as those `compare` gives; the first key of the first names the rows.

    Returns:
        The table, without a newline at the end.

    Raises:
        ValueError: if there are no rows.

    Example:

    >>> print(format_table([
    ...     {"model": "popularity", "hr@10": 0.0521, "users": 943},
    ...     {"model": "mf", "rmse": 0.9187, "hr@10": 0.11, "users": 943},
    ... ]))
    model         rmse   hr@10
    ----------  ------  ------
    popularity       -  0.0521
    mf          0.9187  0.1100
    users: 943
    """
    if not rows or not all(rows):
        raise ValueError(
            f"format_table: expected rows such as compare gives; received {rows!r:.80}."
        )
    # The order of the row with the most columns, then what it lacks.
    names = list(dict.fromkeys(name for row in sorted(rows, key=len)[::-1] for name in row))
    label = next(iter(rows[0]))
    shared = [
        name
        for name in names
        if name != label
        and isinstance(rows[0].get(name), str | int)
        and all(row.get(name) == rows[0][name] for row in rows)
    ]
    columns = [label] + [name for name in names if name != label and name not in shared]
    cells = [columns] + [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in cells
    ]
    if shared:
        lines.append(", ".join(f"{name}: {_cell(rows[0][name])}" for name in shared))
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
