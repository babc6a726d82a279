"""Facts about the rows of a training, from which rules choose the settings."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kerasrec
from kerasrec.schema import FIRST_ID

if TYPE_CHECKING:
    from kerasrec.data import PreparedData


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
    """

    rows: int
    users: int
    items: int
    history: int
    labels: Literal["none", "binary", "ratings"]
    mean_label: float
    pairs: int
    validation: int

    @classmethod
    def of(cls, ready: "PreparedData") -> "Facts":
        """Compute the facts of prepared rows.

        Example:

        >>> from kerasrec import data
        >>> table = {"user_id": [1, 1, 1, 2], "item_id": [5, 6, 7, 5], "rating": [4, 2, 5, 5]}
        >>> rows = data.Interactions.from_table(table | {"timestamp": [1, 2, 3, 4]})
        >>> facts = Facts.of(data.prepare(rows, positive=">=4"))
        >>> facts.rows, facts.users, facts.items, facts.labels, facts.rows_per_item
        (3, 2, 3, 'ratings', 1.0)
        """
        schema, train = ready.schema, ready.train
        labels: Any = np.asarray(train[schema.label])
        values = np.unique(labels[:100_000])
        kind: Literal["none", "binary", "ratings"] = "ratings"
        if len(values) <= 1 and ready.split.train.label is None:
            kind = "none"
        elif np.isin(values, (0, 1)).all():
            kind = "binary"
        counts = np.bincount(train[schema.user_id.name], minlength=FIRST_ID)[FIRST_ID:]
        return cls(
            rows=int(ready.positives(train).sum()),
            users=schema.user_id.num_ids - FIRST_ID,
            items=schema.item_id.num_ids - FIRST_ID,
            history=int(np.ceil(np.quantile(counts, 0.9))) if len(counts) else 1,
            labels=kind,
            mean_label=float(labels.mean()),
            pairs=len(labels),
            validation=len(ready.split.valid),
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
        return f"{self.rows:,} positive rows, {self.users:,} users, {self.items:,} items"


def check_ready(owner: str, ready: Any) -> None:
    """Check that rows have been prepared.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(ready, kerasrec.data.PreparedData):
        raise ValueError(
            f"{owner}: ready must be what kerasrec.data.prepare(split) returns; received "
            f"{type(ready).__name__}. Prepare the rows first."
        )
