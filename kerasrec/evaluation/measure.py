"""Metrics of predicted labels and of recommended lists, as the table of metrics declares them."""

import numpy as np

from kerasrec.data.encoding.positives import is_positive
from kerasrec.evaluation import metrics
from kerasrec.evaluation.beyond import ListFacts
from kerasrec.evaluation.clicks.predictions import predict_clicks
from kerasrec.evaluation.clicks.scores import ClickRows, grouped_auc
from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.ranking.queries import SeenColumns, SeenPairs, seen_parts
from kerasrec.evaluation.ranking.recommend import Recommendations
from kerasrec.evaluation.ranking.scoring import check_ranker, predict
from kerasrec.schema import Schema
from kerasrec.types import Columns, Ranker


def rating_errors(
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
    >>> rating_errors(Three(), columns)["mae"]
    2.0
    """
    if clip is not None and not (len(clip) == 2 and clip[0] < clip[1]):
        raise ValueError(
            f"rating_errors: clip expects (lowest, highest) such as (1, 5); received {clip!r}."
        )
    counts = _checked(model, columns, "rating_errors")
    labels = np.asarray(columns[model.schema.label], np.float64)
    if np.isnan(labels).any():
        raise ValueError(
            f"rating_errors: column {model.schema.label!r} expects numbers; received NaN in "
            f"{np.isnan(labels).sum()} of {len(labels)} rows. Leave those rows out."
        )
    scores = predict(model, columns, batch_size=batch_size)
    errors = (scores if clip is None else np.clip(scores, *clip)) - labels
    return metrics.compute(metrics.RATINGS, errors) | counts


def click_metrics(
    model: Ranker, columns: Columns, *, bins: int = 10, batch_size: int = 8192
) -> dict[str, float | int]:
    """Evaluate a model whose scores are logits of a binary label.

        auc        P(score of a positive > score of a negative), equal scores count half
        pr_auc     area under precision over recall, see `average_precision`
        gauc       auc of each user with both labels, weighted by the user's rows (Zhu et al., 2017,
                   "Optimized Cost per Click in Taobao Display Advertising")
        log_loss   mean of -log P(label), P(1) = 1 / (1 + exp(-score)), or what the calibration
                   of the model says, see `kerasrec.calibration`
        normalized_entropy  log_loss over that of the mean label as the prediction (He et al., 2014,
                   "Practical Lessons from Predicting Clicks on Ads at Facebook")
        calibration         mean prediction over mean label (same paper)
        calibration_error   see `calibration_curve`

    The loss is computed from the log odds, so that no prediction rounds to 0 or 1. Rows with
    unknown ids count like all others, but unknown users are left out of `gauc`.

    Args:
        model: model whose scores are logits of the label column of its schema.
        columns: encoded rows with every feature and the label, 0 or 1.
        bins: see `calibration_curve`.
        batch_size: rows per call of the model.

    Returns:
        Dict with these metrics, `gauc_users` (users with both labels), `test_rows`,
        `unknown_user_rows` and `unknown_item_rows`. Tables without users have no `gauc`, those
        without users or items no unknown ones. Metrics that are undefined if a label is missing
        are NaN: `auc`, `gauc` and `normalized_entropy`, without a positive also `pr_auc` and
        `calibration`.

    Raises:
        ValueError: if there are no rows, a column is missing, a label is neither 0 nor 1, or a
            score is NaN.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class Zero:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 5), label="click")
    ...     def __call__(self, inputs, training=False):
    ...         return np.zeros(inputs["item"].shape, np.float32)
    >>> ids = np.array([2, 3])
    >>> metrics = click_metrics(Zero(), {"user": ids, "item": ids, "click": np.array([1, 0])})
    >>> metrics["auc"], round(metrics["log_loss"], 4), metrics["normalized_entropy"]
    (0.5, 0.6931, 1.0)
    """
    counts = _checked(model, columns, "click_metrics")
    schema = model.schema
    found = predict_clicks(model, columns, batch_size=batch_size, what="click_metrics")
    grouped = float("nan"), 0
    if schema.user:
        users = np.asarray(columns[schema.user_id.name], np.int64)
        grouped = grouped_auc(found.labels, found.logits, np.where(known(users), users, -1))
    rows = ClickRows(found.labels, found.logits, found.log_odds, found.probabilities, grouped, bins)
    values = metrics.compute(metrics.CLICKS, rows) | {"gauc_users": grouped[1]} | counts
    return values if schema.user else {n: v for n, v in values.items() if "gauc" not in n}


def beyond_accuracy(
    lists: Recommendations,
    schema: Schema,
    *,
    train: SeenColumns,
    test: Columns | None = None,
    vectors: np.ndarray | None = None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Compute all metrics of recommended lists.

    Args:
        lists: the result of `recommend`.
        schema: names of the user and the item id.
        train: encoded training rows. Their positives define popularity and histories, and all of
            them count as seen.
        test: encoded test rows, for `serendipity`.
        vectors: `(item ids, dim)` embeddings or features, for `diversity`.

    Returns:
        The metrics by name, with `@k` for lists of k, and the values `(queries,)` of those metrics
        that exist for every list and are averaged.

    Raises:
        ValueError: if `train` has no rows, a column is missing or badly encoded, or the vectors
            have another shape.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(Categorical("user", 4), Categorical("item", 6))
    >>> lists = Recommendations(np.array([2, 3]), np.array([[5, 4], [5, 3]]), np.arange(2, 6))
    >>> train = {"user": np.array([2, 3, 3]), "item": np.array([2, 2, 4])}
    >>> metrics, values = beyond_accuracy(lists, schema, train=train)
    >>> metrics["coverage@2"], values["novelty@2"].tolist()
    (0.75, [1.0, 1.0])
    """
    positives = _positives(train, schema)
    users, items = SeenPairs.of(positives, schema).pairs()
    counts = np.bincount(items, minlength=schema.item_id.num_ids)  # repeated pairs count once
    if not counts.any():
        raise ValueError(
            "beyond_accuracy: train has no row with a known user and item and a "
            f"{schema.label!r} {schema.positive}; expected the rows that the model was trained on. "
            "Popularity is counted there."
        )
    number = int((np.bincount(users) > 0).sum())
    facts = ListFacts(lists, schema, train, test, vectors, positives, counts, number)
    found = metrics.compute(metrics.LISTS, facts, [lists.k])
    values = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    means = {name: _mean(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None} | means, values


def _positives(train: SeenColumns, schema: Schema) -> list[Columns]:
    """Return user and item of the rows whose label is a positive."""
    names = schema.user_id.name, schema.item_id.name
    found: list[Columns] = []
    for part in seen_parts(train):
        check_columns(part, names, what="seen")
        chosen = is_positive(part, schema, "beyond_accuracy: train")
        found.append({name: np.asarray(part[name])[chosen] for name in names})
    return found


def _mean(values: np.ndarray) -> float:
    """Average the values that are defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _checked(model: Ranker, columns: Columns, what: str) -> dict[str, int]:
    """Validate a model and encoded rows with labels, and count the rows.

    Raises:
        ValueError: if there are no rows, or a column is missing or badly encoded.
    """
    check_ranker(model)
    schema = model.schema
    names = [feature.name for feature in schema.features] + [schema.label]
    rows = check_columns(columns, names, what=what)
    counts = {"test_rows": rows}
    for side in ("user", "item"):
        if getattr(schema, side):
            feature = schema.user_id if side == "user" else schema.item_id
            ids = check_ids(columns[feature.name], feature, what=what)
            counts[f"unknown_{side}_rows"] = int((~known(ids)).sum())
    return counts
