"""Facts about the rows of a training, from which rules choose the settings."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kerasrec
from kerasrec.schema import FIRST_ID, Categorical

if TYPE_CHECKING:
    from kerasrec.data import PreparedData, PreparedExamples

REPEATED = 0.5
"""Share of the positive rows from which on their pairs of values count as repeated."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """Sizes of a data set and the kind of its labels.

    Args:
        rows: positive training rows of known users and items.
        users: users with a training row.
        items: items with a training row.
        history: items that nine of ten users have at most.
        labels: "none" where all rows are positives, "binary" for two values, else "ratings".
        mean_label: mean label of the training rows.
        pairs: all training rows, positive or not.
        validation: validation rows.
        effective_items: 1 / sum_i p_i^2, where p_i is the share of item i of the positive rows: the
            number of items if all were equally popular, and fewer the more a few of them dominate.
        features: features of a table without users and items, of which there are then none.
        categories: values of all its features of ids together.
        cross: the two categorical features of a table with the most values, if two rows often share
            both values: most positive rows do, and neither value tells the other. Else empty.
    """

    rows: int
    users: int
    items: int
    history: int
    labels: Literal["none", "binary", "ratings"]
    mean_label: float
    pairs: int
    validation: int
    effective_items: float = 1.0
    features: int = 0
    categories: int = 0
    cross: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "cross", tuple(self.cross))  # JSON has lists

    @classmethod
    def of(cls, ready: "PreparedData | PreparedExamples") -> "Facts":
        """Compute the facts of prepared rows.

        Example:

        >>> from kerasrec import data
        >>> table = {"user_id": [1, 1, 1, 2], "item_id": [5, 6, 7, 5], "rating": [4, 2, 5, 5]}
        >>> rows = data.Interactions.from_table(table | {"timestamp": [1, 2, 3, 4]})
        >>> facts = Facts.of(data.prepare(rows, positive=">=4"))
        >>> facts.rows, facts.users, facts.items, facts.labels, facts.rows_per_item
        (3, 2, 3, 'ratings', 1.0)
        >>> round(facts.effective_items, 3)  # 1 / (2/3 * 2/3 + 1/3 * 1/3)
        1.8
        """
        schema, train = ready.schema, ready.train
        if isinstance(ready, kerasrec.data.PreparedExamples):
            return cls._of_examples(ready)
        labels: Any = np.asarray(train[schema.label])
        values = np.unique(labels[:100_000])
        kind: Literal["none", "binary", "ratings"] = "ratings"
        if len(values) <= 1 and ready.split.train.label is None:
            kind = "none"
        elif np.isin(values, (0, 1)).all():
            kind = "binary"
        counts = np.bincount(train[schema.user_id.name], minlength=FIRST_ID)[FIRST_ID:]
        positive = ready.positives(train) > 0
        taken = np.bincount(train[schema.item_id.name][positive], minlength=FIRST_ID)[FIRST_ID:]
        squares = np.sum(np.square(taken, dtype=float))
        return cls(
            rows=int(positive.sum()),
            users=schema.user_id.num_ids - FIRST_ID,
            items=schema.item_id.num_ids - FIRST_ID,
            history=int(np.ceil(np.quantile(counts, 0.9))) if len(counts) else 1,
            labels=kind,
            mean_label=float(labels.mean()),
            pairs=len(labels),
            validation=len(ready.split.valid),
            effective_items=float(taken.sum() ** 2 / squares) if squares else 1.0,
        )

    @classmethod
    def _of_examples(cls, ready: "PreparedExamples") -> "Facts":
        """Compute the facts of a table without users and items."""
        labels = ready.train[ready.schema.label]
        values = np.unique(labels)
        ids = [feature for feature in ready.schema.features if feature.has_ids]
        return cls(
            rows=int(ready.positives(ready.train).sum()),
            users=0,
            items=0,
            history=1,
            labels="binary" if len(values) <= 2 else "ratings",
            mean_label=float(labels.mean()),
            pairs=len(labels),
            validation=len(ready.valid[ready.schema.label]),
            features=len(ready.schema.features),
            categories=sum(ready.schema.num_ids(f.name) - FIRST_ID for f in ids),
            cross=_repeated_pair(ready),
        )

    @property
    def rows_per_item(self) -> float:
        """Return the mean number of positive rows of an item."""
        return self.rows / max(1, self.items)

    @property
    def rows_per_user(self) -> float:
        """Return the mean number of positive rows of a user."""
        return self.rows / max(1, self.users)

    def describe(self) -> str:
        """Describe the sizes in a few words."""
        if self.features:
            return (
                f"{self.pairs:,} rows, {self.features:,} features, {self.categories:,} categories"
            )
        return f"{self.rows:,} positive rows, {self.users:,} users, {self.items:,} items"


def _repeated_pair(ready: "PreparedExamples") -> tuple[str, ...]:
    """Return the names of two categorical features whose pairs of values most positive rows share.

    Those are the two features with the most values.
    """
    found = [f for f in ready.schema.features if isinstance(f, Categorical)]
    names = [f.name for f in sorted(found, key=lambda f: f.num_ids, reverse=True)[:2]]
    positive = ready.positives(ready.train) > 0
    ids: Any = [ready.train[name][positive].astype(np.int64) for name in names]
    if len(names) < 2:
        return ()
    known = (ids[0] >= FIRST_ID) & (ids[1] >= FIRST_ID)
    first, second = ids[0][known], ids[1][known]
    pairs, counts = np.unique((first << 32) | second, return_counts=True)
    repeated = counts[counts > 1].sum() > REPEATED * positive.sum()
    singles = max(len(np.unique(first)), len(np.unique(second)))
    return tuple(sorted(names)) if repeated and len(pairs) > 2 * singles else ()


def check_ready(owner: str, ready: Any) -> None:
    """Check that rows have been prepared.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(ready, kerasrec.data.PreparedData | kerasrec.data.PreparedExamples):
        raise ValueError(
            f"{owner}: ready must be what kerasrec.data.prepare(split) returns, or "
            f"prepare_examples; received {type(ready).__name__}. Prepare the rows first."
        )
