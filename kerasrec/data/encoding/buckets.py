"""Buckets: ranges of numbers with an id each."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pyarrow as pa

from kerasrec._checks import check_integer
from kerasrec.data.encoding.id_table import hash_values
from kerasrec.schema import FIRST_ID, UNKNOWN_ID


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """Map from numbers to int32 ids, one for each range of numbers.

        encode(x) = i + 2,   ids[i] <= x < ids[i + 1]          encode(NaN) = 1

    It stands where a `Vocabulary` does, for a number whose effect does not grow in proportion, such
    as an age or a price. The first range has no lower bound, and the last one no upper bound.

    Args:
        ids: lower bound of each range, ascending float32 `(buckets,)`; the first is -inf.
        counts: training values in each range.
        name: name of the column, for messages.

    Raises:
        ValueError: if there are fewer than two ranges, or bounds or counts are not as above.

    Example:

    >>> buckets = Buckets.fit([18.0, 25.0, 31.0, 64.0], 2, name="age")
    >>> buckets.ids.tolist(), buckets.counts.tolist()
    ([-inf, 31.0], [2, 2])
    >>> buckets.encode([17.0, 31.0, float("nan"), 90.0]).tolist(), buckets.num_ids
    ([2, 3, 1, 3], 4)
    """

    ids: np.ndarray
    counts: np.ndarray
    name: str = "number"

    def __post_init__(self) -> None:
        bounds, counts = np.array(self.ids, np.float32), np.array(self.counts)
        owner = f"Buckets {self.name!r}"
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != -np.inf:
            raise ValueError(
                f"{owner}: expected the lower bounds of at least two ranges, the first of them "
                f"-inf; received {self.ids!r:.80}."
            )
        if not (np.diff(bounds) > 0).all() or np.isposinf(bounds[-1]):  # NaN is not above
            raise ValueError(f"{owner}: lower bounds must ascend and be finite: {self.ids!r:.80}.")
        if counts.shape != bounds.shape or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise ValueError(
                f"{owner}: expected {len(bounds)} non-negative integer counts, one a range; "
                f"received shape {counts.shape} of {counts.dtype}."
            )
        for field, array in (("ids", bounds), ("counts", counts.astype(np.int64))):
            array.setflags(write=False)
            object.__setattr__(self, field, array)

    @classmethod
    def fit(cls, values: Any, num_buckets: int = 16, name: str = "number") -> "Buckets":
        """Fit ranges that hold about equally many values.

        Values that repeat often make fewer ranges.

        Args:
            values: numbers of the training rows `(rows,)`; NaN is left out.
            num_buckets: largest number of ranges.
            name: name of the column, for messages.

        Raises:
            ValueError: if there are fewer than two distinct numbers, or some are infinite.
        """
        owner = f"Buckets {name!r}"
        check_integer(owner, "num_buckets", num_buckets, 2, numpy=True)
        numbers = _numbers(values, owner)
        known = np.sort(numbers[~np.isnan(numbers)])
        if not len(known) or known[0] == known[-1] or not np.isfinite(known[[0, -1]]).all():
            raise ValueError(
                f"{owner}: expected at least two distinct finite numbers; received "
                f"{np.unique(known)[:5].tolist()}. A constant column carries no information: leave "
                "it out."
            )
        places = np.arange(1, num_buckets) * len(known) // num_buckets
        bounds = np.unique(known[places])
        bounds = np.append(np.float32(-np.inf), bounds[bounds > known[0]])
        if len(bounds) < 2:  # most values are the lowest one
            bounds = np.append(bounds, known[known > known[0]][0])
        position = np.searchsorted(bounds, known, side="right") - 1
        return cls(bounds, np.bincount(position, minlength=len(bounds)), name)

    @property
    def dtype(self) -> str:
        """Return the type of the raw values: "float32"."""
        return "float32"

    @property
    def num_ids(self) -> int:
        """Return the number of int32 ids, padding and unknown included."""
        return len(self) + FIRST_ID

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Compute a hash of the bounds, see `Vocabulary.fingerprint`."""
        return hash_values(self.ids)[:32]

    def encode(self, values: Any) -> np.ndarray:
        """Encode numbers to int32 ids `(rows,)`; NaN becomes 1.

        Args:
            values: numbers `(rows,)`.

        Raises:
            ValueError: if they are no numbers.
        """
        numbers = _numbers(values, f"Buckets {self.name!r}")
        found = np.searchsorted(self.ids, numbers, side="right") + (FIRST_ID - 1)
        return np.where(np.isnan(numbers), UNKNOWN_ID, found).astype(np.int32)

    def decode(self, ids: Any) -> np.ndarray:
        """Decode ids to the lower bounds of their ranges, which encode to the same ids.

        Args:
            ids: integers of any shape from 2 to `num_ids - 1`.

        Raises:
            ValueError: if an id is padding, unknown or out of range.
        """
        encoded = np.asarray(ids)
        outside = (encoded < FIRST_ID) | (encoded >= self.num_ids)
        if encoded.dtype.kind not in "iu" or outside.any():
            raise ValueError(
                f"Buckets {self.name!r}: decode expects ids from {FIRST_ID} to "
                f"{self.num_ids - 1}; received {encoded.ravel()[:5].tolist()}."
            )
        return self.ids[encoded - FIRST_ID]

    def to_table(self) -> pa.Table:
        """Return an Arrow table of `id` (the lower bound) and `count`."""
        return pa.table({"id": self.ids, "count": self.counts})

    @classmethod
    def from_table(cls, table: pa.Table, name: str = "number") -> "Buckets":
        """Create buckets from the table of `to_table`.

        Args:
            table: the table.
            name: name of the column, for messages.
        """
        return cls(table["id"].to_numpy(), table["count"].to_numpy(), name)


def _numbers(values: Any, owner: str) -> np.ndarray:
    # Missing values become NaN.
    if isinstance(values, pa.Array):
        values = values.to_numpy(zero_copy_only=False)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        numbers = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: expected numbers; received {values!r:.80}.") from error
    if numbers.ndim != 1:
        raise ValueError(f"{owner}: expected one column; received the shape {numbers.shape}.")
    return numbers
