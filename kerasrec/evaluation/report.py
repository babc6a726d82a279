"""Evaluation of one model, and comparison tables of several."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

import numpy as np

from kerasrec.evaluation.baseline import MostSeen
from kerasrec.evaluation.guard import check_ranking
from kerasrec.evaluation.measure import rating_errors
from kerasrec.evaluation.metrics import beside_ranking, by_priority, kind_of
from kerasrec.evaluation.ranking.queries import SeenColumns, seen_parts
from kerasrec.evaluation.ranking.rank import rank
from kerasrec.evaluation.ranking.scoring import check_ranker
from kerasrec.evaluation.ranking.task import RankingTask, TaskOptions
from kerasrec.types import Columns, Ranker

Row = dict[str, float | int | str]

_BASELINE = "popularity"


def evaluate(
    model: Ranker,
    test: Columns | RankingTask,
    *,
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
    **options: Unpack[TaskOptions],
) -> Row:
    """Evaluate one model: the metrics of `rank`, and of `rating_errors` on demand.

    Args:
        model: model to evaluate.
        test: encoded test rows, or a task.
        ratings: whether the model predicts the label column, so that `rmse` and `mae` are
            meaningful. Leave it off for models trained to rank.
        clip: see `rating_errors`.
        **options: see `rank`.

    Returns:
        Dict with the means and counts of `RankingResult.summary`, preceded by `rmse` and `mae` if
        `ratings`.

    Warns:
        ProtocolWarning: see `check_ranking`.

    Raises:
        ValueError: see `rank` and `rating_errors`. Also if `clip` is given without `ratings`.

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
    _check_clip(clip, ratings)
    task = RankingTask.of(test, options)
    row = _row(model, task, ratings=ratings, clip=clip)
    check_ranking(model.schema, task)
    return row


def _check_clip(clip: tuple[float, float] | None, ratings: bool) -> None:
    if clip is not None and not ratings:
        raise ValueError(
            f"evaluate: clip={clip!r} bounds predicted ratings, which are not evaluated. Pass "
            "ratings=True if the model predicts the label, or leave clip out."
        )


def _row(
    model: Ranker,
    task: RankingTask,
    *,
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
) -> Row:
    errors = beside_ranking(rating_errors(model, task.test, clip=clip)) if ratings else {}
    return errors | rank(model, task).summary()


def compare(
    models: Mapping[str, Ranker],
    test: Columns | RankingTask,
    *,
    train: SeenColumns = None,
    ratings: bool = False,
    clip: tuple[float, float] | None = None,
    **options: Unpack[TaskOptions],
) -> list[Row]:
    """Evaluate several models on the same queries, beside item popularity.

    The row `popularity` ranks items by their number of rows in `train` and predicts no ratings. It
    is added first unless a model has that name.

    Args:
        models: models by name; all share one schema's id spaces and positives.
        test: encoded test rows, or a task.
        train: the rows that the models were trained on, which popularity counts. By default the
            first part of `seen`: in `seen=[train, valid]` the training rows.
        ratings: see `evaluate`.
        clip: see `rating_errors`.
        **options: see `rank`.

    Returns:
        One dict per model with its name under `model` and the metrics of `evaluate`.

    Raises:
        ValueError: see `evaluate`. Also if there is no model, no row to count, or the models'
            schemas have different rules for positives.

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
    rules = {name: model.schema.positive for name, model in models.items()}
    if len(set(rules.values())) > 1:
        raise ValueError(
            f"compare: expected one rule of which test rows are hits; the schemas say {rules}. "
            "Give the models schemas with the same `positive`."
        )
    _check_clip(clip, ratings)
    task = RankingTask.of(test, options)
    for model in models.values():
        check_ranker(model)
    schema = next(iter(models.values())).schema
    rows: list[Row] = []
    if _BASELINE not in {name.casefold() for name in models}:
        counted = seen_parts(task.seen)[:1] if train is None else train
        rows.append({"model": _BASELINE, **_row(MostSeen(schema, counted), task)})
    for name, model in models.items():
        rows.append({"model": name, **_row(model, task, ratings=ratings, clip=clip)})
    check_ranking(schema, task)  # once only, since all models share the protocol
    return rows


def format_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    metrics: Sequence[str] | Literal["main", "all"] = "main",
    width: int = 80,
) -> str:
    """Format rows of metrics as an aligned text table.

    Floats have four decimals, and missing values are a dash. Counts and texts that are the same in
    every row are printed below the table instead of in a column. So is a metric that equals an
    earlier one in every row, as recall equals the hit rate if queries have one positive.

    Args:
        rows: dicts, such as those of `compare`. The first key of the first dict names the rows.
        metrics: ranking metrics to show. `"main"` shows the first three that differ, by the
            priority in the table of metrics (NDCG first), at every k. Or `"all"`, or names such as
            `["map@10", "auc"]`. Other columns (rating errors, seconds) are always shown.
        width: characters of a line. Further columns continue in another table below.

    Returns:
        The table, without a newline at the end.

    Raises:
        ValueError: if there are no rows, or a metric is in none of them.

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
            f"format_table: expected rows such as those of compare; received {rows!r:.80}."
        )
    # Order of the row with the most columns, then the columns it lacks.
    names = list(dict.fromkeys(name for row in sorted(rows, key=len)[::-1] for name in row))
    label = next(iter(rows[0]))
    cells = {name: [_cell(row.get(name)) for row in rows] for name in names}
    shared = [
        name
        for name in names
        if name != label
        and isinstance(rows[0].get(name), str | int)
        and all(row.get(name) == rows[0][name] for row in rows)
    ]
    columns, equal = _columns([n for n in names if n not in (label, *shared)], rows, metrics)
    lines: list[str] = []
    for some in _within(label, columns, cells, width):
        widths = [max(len(name), *map(len, cells[name])) for name in some]
        table = [some, ["-" * size for size in widths]]
        table += [list(line) for line in zip(*(cells[name] for name in some), strict=True)]
        lines += [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in table
        ]
    below = [f"{name} = {first}" for name, first in equal.items()]
    below += [f"{name}: {_cell(rows[0][name])}" for name in shared]
    if below:
        lines += textwrap.wrap(", ".join(below), max(20, width), break_long_words=False)
    return "\n".join(lines)


def _columns(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] | str
) -> tuple[list[str], dict[str, str]]:
    """Return the columns in order, and those left out with the earlier column they equal."""
    first: dict[tuple[object, ...], str] = {}
    main = list(dict.fromkeys(map(kind_of, by_priority())))
    order = sorted(
        names, key=lambda name: main.index(kind_of(name)) if kind_of(name) in main else -1
    )
    equal = {}
    for name in order:
        values = tuple(row.get(name) for row in rows)
        if kind_of(name) in main and first.setdefault(values, name) != name:
            equal[name] = first[values]
    if metrics == "all":
        chosen = [name for name in names if name not in equal]
    elif metrics == "main":
        differ = [name for name in order if kind_of(name) in main and name not in equal]
        kinds = list(dict.fromkeys(map(kind_of, differ)))[:3]
        chosen = [
            n for n in names if kind_of(n) not in main or (n in differ and kind_of(n) in kinds)
        ]
    else:
        if unknown := [name for name in metrics if name not in names]:
            raise ValueError(
                f"format_table: expected metrics among {list(names)}; received {unknown}. Rank "
                "with the k that they need, or leave them out."
            )
        others = [name for name in names if kind_of(name) not in main]
        return [*others, *(name for name in metrics if name not in others)], {}
    return chosen, {name: one for name, one in equal.items() if one in chosen}


def _within(
    label: str, columns: Sequence[str], cells: Mapping[str, Sequence[str]], width: int
) -> list[list[str]]:
    """Distribute the columns over tables that fit the width where possible."""
    sizes = {name: max(len(name), *map(len, cells[name])) for name in (label, *columns)}
    tables = [[label]]
    for name in columns:
        used = sum(sizes[n] + 2 for n in tables[-1]) - 2
        if len(tables[-1]) > 1 and used + 2 + sizes[name] > width:
            tables.append([label])
        tables[-1].append(name)
    return tables


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float | np.floating) else str(value)
