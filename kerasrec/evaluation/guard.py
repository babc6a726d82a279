"""Warnings about misleading or incomparable evaluation protocols.

Nothing here changes a metric. Each finding is a `ProtocolWarning` with the problem, its extent, and
a remedy.
"""

import warnings
from typing import Unpack

import numpy as np

from kerasrec.data.splits.split import Split
from kerasrec.data.tables.side_tables import side_of
from kerasrec.evaluation.clicks.scores import auc
from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.ranking.queries import SeenPairs, seen_parts
from kerasrec.evaluation.ranking.task import RankingTask, TaskOptions
from kerasrec.schema import FIRST_ID, Numeric, Schema
from kerasrec.types import Columns

TELLS_ALONE = 0.95
"""AUC of a feature alone from which on it is suspicious."""
MOST_ROWS = 200_000
"""Rows that `check_features` looks at."""


class ProtocolWarning(UserWarning):
    """Warning about the data or the protocol of an evaluation."""


def check_split(split: Split) -> list[str]:
    """Warn if a split leaks: test rows in train, or training rows later than test rows.

    - Test rows whose (user, item) pair has a training row too: the model was trained on the answer.
      (If users really do repeat items, rank with `drop_repeats`.)
    - Training rows later than the first test row: the model knows what becomes popular later, and
      who else liked it. `global_time_split` and `time_folds` exclude that. `leave_last_out` and
      random splits do not, and most published tables use them.
    - Training rows of a user later than a test row of the same user: the model has seen what the
      user did afterwards.

    The valid part is checked if there is no test part, and always for repeated pairs.

    Args:
        split: the parts.

    Returns:
        The findings, also issued as `ProtocolWarning`. Empty for a clean split.

    Example:

    >>> from kerasrec.data import Interactions, global_time_split
    >>> rows = Interactions.from_table({
    ...     "user_id": [1, 1, 2, 2], "item_id": [5, 6, 5, 7], "timestamp": [1, 2, 3, 4]},
    ...     label=None)
    >>> check_split(global_time_split(rows, valid=0.0, test=0.5))
    []
    """
    train = split.train
    found = []
    for name in ("valid", "test"):
        part = getattr(split, name)
        if not len(part):
            continue
        repeated = Split(train, train.take([]), part, split.method).repeated_pairs
        if repeated:
            found.append(
                f"{repeated:,} of {len(part):,} {name} rows have their (user, item) pair in train "
                f"as well ({split.method}). Remove duplicates before the split "
                "(kerasrec.data.deduplicate), or rank with drop_repeats=True."
            )
    held_out = next((name for name in ("test", "valid") if len(getattr(split, name))), None)
    if train.time is not None and held_out:
        part = getattr(split, held_out)
        later = int((train.column(train.time) > part.column(part.time).min()).sum())
        share = later / max(1, len(train))
        many = f"{share:.0%} of training rows" if share >= 0.01 else f"{later:,} training rows"
        if later:
            found.append(f"{many} follow the first {held_out} row; use global_time_split.")
        users, same = _later_rows_of_the_same_user(split, held_out)
        if same:
            found.append(
                f"{same:,} {held_out} rows of {users:,} users are earlier than a training row of "
                f"the same user ({split.method}): the model has seen where the user went next. "
                "global_time_split and time_folds exclude that."
            )
    return _warned(found)


def check_features(columns: Columns, schema: Schema) -> list[str]:
    """Warn of features that tell the label almost alone.

    Most often such a column was written after the label was known: the date of a return, the page
    after a click. A number is judged by the AUC of its order, a category by that of the share of
    positives among the other rows that have it. Bags, vectors and histories are not looked at.

    Args:
        columns: encoded training rows with their label.
        schema: names of the features, and which labels are positives.

    Returns:
        The findings, also issued as `ProtocolWarning`. Empty for rows of which all labels are
        equal.

    Example:

    >>> from kerasrec.schema import Numeric
    >>> schema = Schema(context=[Numeric("age"), Numeric("paid")], label="bought")
    >>> columns = {"age": np.float32([30, 40, 20, 50]), "paid": np.float32([0, 9, 8, 0])}
    >>> with warnings.catch_warnings(action="ignore"):
    ...     check_features(columns | {"bought": np.float32([0, 1, 1, 0])}, schema)
    ["'paid' alone tells the label 'bought' with AUC 1.000: was it known before?"]
    """
    names = [feature.name for feature in schema.features]
    rows = check_columns(columns, [*names, schema.label], what="check_features")
    some = np.random.default_rng(0).permutation(rows)[:MOST_ROWS]
    labels = np.asarray(schema.is_positive(np.asarray(columns[schema.label])[some]), np.float64)
    found = []
    for feature in schema.features if labels.min() < labels.max() else ():
        if feature.shape or feature.is_history:
            continue
        values = np.asarray(columns[feature.name])[some]
        if isinstance(feature, Numeric):
            scores = np.where(np.isnan(values), feature.raw(0.0), values)
        else:
            scores = _share_of_others(values, labels)
        value = auc(labels, scores)
        value = max(value, 1 - value)
        if value >= TELLS_ALONE:
            found.append(
                f"{feature.name!r} alone tells the label {schema.label!r} with AUC {value:.3f}: "
                "was it known before?"
            )
    return _warned(found)


def _share_of_others(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return, for each row, the mean label of the other half of the rows with its id."""
    mean, half = labels.mean(), np.arange(len(ids)) % 2
    shares = np.empty(len(ids))
    for number in (0, 1):
        other = half != number
        counts = np.bincount(ids[other], minlength=int(ids.max()) + 1)
        sums = np.bincount(ids[other], labels[other], len(counts))
        shares[~other] = ((sums + mean) / (counts + 1))[ids[~other]]
    return shares


def check_ranking(
    schema: Schema, test: Columns | RankingTask, **options: Unpack[TaskOptions]
) -> list[str]:
    """Warn if a ranking protocol is not that of the full catalogue without seen items.

    - No seen items are removed, so the lists are full of items that users already have.
    - Test rows are in `seen` as well.
    - A context feature is constant within each item, and so reveals the right one.
    - Candidates are given or sampled, or omit part of the catalogue. Such metrics are
      higher, and may rank models differently (Krichene and Rendle, 2020, "On Sampled Metrics for
      Item Recommendation").

    `evaluate` calls this function. `rank` and `RankingValidation`, which may run often, do not.

    Args:
        schema: names of the user and the item id.
        test: encoded test rows, or a task.
        **options: see `rank`.

    Returns:
        The findings, also issued as `ProtocolWarning`.

    Raises:
        ValueError: if a column is missing or badly encoded.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(Categorical("user", 4), Categorical("item", 12))
    >>> test, train = ({"user": np.array([2]), "item": np.array([i])} for i in (4, 5))
    >>> check_ranking(schema, test, seen=train)
    []
    """
    task = RankingTask.of(test, options)
    test, seen = task.test, task.seen
    check_columns(test, (schema.user_id.name, schema.item_id.name), what="check_ranking: test")
    users = check_ids(test[schema.user_id.name], schema.user_id, what="check_ranking: test")
    ids = check_ids(test[schema.item_id.name], schema.item_id, what="check_ranking: test")
    found = []
    if not seen_parts(seen):
        found.append(
            "no seen items are removed from the lists, so items that a user has chosen before "
            "compete with those to be found. Pass the training rows as `seen`."
        )
    repeated = int((SeenPairs.of(seen, schema).contains(users, ids) & known(users)).sum())
    if repeated:
        found.append(
            f"{repeated:,} of {len(users):,} test rows are in `seen` as well; they count as "
            "positives all the same. Rank with drop_repeats=True to leave them out."
        )
    for feature in schema.context:
        if feature.name in test and np.ndim(test[feature.name]) == 1:
            codes = np.unique(test[feature.name], return_inverse=True)[1]
            if side_of(codes, users, ids) == "item":
                found.append(
                    f"the context feature {feature.name!r} has one value in all test rows of each "
                    "item, so every query reveals which items may be right. Make it an item "
                    "feature."
                )
    every = schema.item_id.num_ids - FIRST_ID
    if (given := task.sampled) is not None:
        found.append(
            f"{given.ids.shape[1]} {given.method} candidates are ranked instead of the {every:,} "
            "items of the catalogue. Such results compare with no other protocol's."
        )
    elif task.candidates is not None and (listed := np.size(np.asarray(task.candidates))) < every:
        found.append(
            f"the {listed:,} items that are ranked are fewer than the {every:,} of the vocabulary. "
            "Figures on fewer candidates are higher; say so beside them."
        )
    return _warned(found)


def _later_rows_of_the_same_user(split: Split, name: str) -> tuple[int, int]:
    """Count the users, and rows of the part, with a later training row of the user."""
    train, part, time = split.train, getattr(split, name), str(split.train.time)
    ids, code = np.unique(
        np.concatenate([train.column(train.user), part.column(part.user)]), return_inverse=True
    )
    last = np.full(len(ids), np.iinfo(np.int64).min)
    np.maximum.at(last, code[: len(train)], train.column(time))
    owner = code[len(train) :]
    earlier = part.column(time) < last[owner]
    return len(np.unique(owner[earlier])), int(earlier.sum())


def _warned(found: list[str]) -> list[str]:
    for text in found:
        warnings.warn(text, ProtocolWarning, stacklevel=3)
    return found
