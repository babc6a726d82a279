"""One model in figures, several models side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasrec.evaluation.baseline import MostSeen
from kerasrec.evaluation.full_ranking import ranking
from kerasrec.evaluation.guard import check_ranking
from kerasrec.evaluation.queries import Per, SeenColumns, seen_parts
from kerasrec.evaluation.rating_errors import pointwise
from kerasrec.evaluation.sampling import Candidates
from kerasrec.types import Columns, Ranker

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
    per: Per = "user",
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
        per: see `ranking`.
        ratings: whether the model predicts the label column, so that `rmse` and `mae` mean
            something. Off for models trained to rank.
        clip: see `pointwise`.

    Returns:
        dict with the keys of `ranking`, before them `rmse` and `mae` if `ratings`.

    Warns:
        ProtocolWarning: see `check_ranking`.

    Raises:
        ValueError: see `ranking` and `pointwise`; or if `clip` is given without `ratings`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 12))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> train, test = ({"user": np.array([2]), "item": np.array([i])} for i in (11, 9))
    >>> evaluate(HighestId(), test, seen=train, k=1)["mrr"]
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
    ranks = ranking(model, test, seen=seen, k=k, candidates=candidates, items=items, per=per)
    check_ranking(model.schema, test, seen=seen, candidates=candidates, items=items)
    return errors | ranks


def compare(
    models: Mapping[str, Ranker],
    test: Columns,
    *,
    seen: SeenColumns,
    train: SeenColumns = None,
    k: int | Sequence[int] = (10,),
    candidates: np.ndarray | Candidates | None = None,
    items: Columns | None = None,
    per: Per = "user",
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
) -> list[Row]:
    """Evaluate several models by the same queries, beside the popularity of the items.

    The row `popularity` ranks items by their number of rows in `train` and predicts no ratings. It
    is added first unless a model has that name.

    Args:
        models: models by name; all share one schema's id spaces.
        test: encoded test rows.
        seen: see `ranking`.
        train: the rows that the models learned from, which popularity counts. By default the first
            part of `seen`: in `seen=[train, valid]` the training rows.
        k: see `ranking`.
        candidates: see `ranking`.
        items: see `ranking`.
        per: see `ranking`.
        ratings: see `evaluate`.
        clip: see `pointwise`.

    Returns:
        One dict per model with its name under `model` and the figures of `evaluate`.

    Raises:
        ValueError: see `evaluate`; or if there is no model, or no row to count.

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
    shared: dict[str, Any] = {
        "seen": seen, "k": k, "candidates": candidates, "items": items, "per": per,
    }  # fmt: skip
    rows: list[Row] = []
    if _BASELINE not in {name.casefold() for name in models}:
        schema = next(iter(models.values())).schema
        counted = seen_parts(seen)[:1] if train is None else train
        rows.append({"model": _BASELINE, **evaluate(MostSeen(schema, counted), test, **shared)})
    for name, model in models.items():
        figures = evaluate(model, test, ratings=ratings, clip=clip, **shared)
        rows.append({"model": name, **figures})
    return rows


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
