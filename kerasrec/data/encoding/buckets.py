"""Buckets instead of vocabularies: ranges of numbers, and hashes of open-ended values."""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

from kerasrec._checks import check_choice, check_integer
from kerasrec.data.encoding.id_table import hash_values, sip_hash
from kerasrec.data.tables.arrow import distinct_ids, to_ids
from kerasrec.schema import FIRST_ID, PADDING_ID, UNKNOWN_ID
from kerasrec.types import RAW_PADDING

HASHED = "hashed"
"""Kind of features whose values are hashed."""
VALUES_A_BUCKET = 4
FEWEST_BUCKETS, MOST_BUCKETS = 1 << 10, 1 << 20
_KEY = 0x6B65726173726563
"""First half of the key of each hash function; the second half is its number."""


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


@dataclasses.dataclass(frozen=True)
class HashBuckets:
    """Map from any text or integer to several int32 ids, by hash functions.

        encode(x) = (h_1(x) mod n + 2, ..., h_k(x) mod n + 2)          encode(missing) = (0, ..., 0)

    It stands where a `Vocabulary` does, for values that are open-ended, such as devices, addresses
    or search texts: the table has n rows, however many values there are, and a value that no
    training row has finds rows too. A model reads the mean of the k rows. Two values share all of
    them with a probability of about 2 / n^2 for k = 2, while one row alone would be shared by one
    in n.

    The functions are SipHash-2-4 of the UTF-8 text, of integers of their decimals, with fixed keys;
    TensorFlow has them as `tf.strings.to_hash_bucket_strong`.

    Args:
        num_buckets: number of rows n.
        num_hashes: number of hash functions k, up to 16.
        dtype: type of the raw values: "string" or "int64".
        rows: number of training rows that have a value.
        name: name of the column, for messages.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> devices = HashBuckets.fit(["a7", "b2", "a7"], name="device")
    >>> devices.num_buckets, devices.num_hashes, devices.rows
    (1024, 2, 3)
    >>> devices.encode(["a7", "", "never seen"]).tolist()
    [[467, 753], [0, 0], [857, 698]]
    """

    num_buckets: int
    num_hashes: int = 2
    dtype: str = "string"
    rows: int = 0
    name: str = dataclasses.field(default="value", compare=False)

    def __post_init__(self) -> None:
        check_integer(self._owner, "num_buckets", self.num_buckets, 2, 2**31 - 1 - FIRST_ID)
        check_integer(self._owner, "num_hashes", self.num_hashes, 1, 16)
        check_choice(self._owner, "dtype", self.dtype, ("string", "int64"))
        check_integer(self._owner, "rows", self.rows, 0)

    @property
    def _owner(self) -> str:
        return f"HashBuckets {self.name!r}"

    @classmethod
    def fit(
        cls,
        values: Any,
        num_buckets: int | None = None,
        num_hashes: int = 2,
        name: str = "value",
    ) -> "HashBuckets":
        """Choose the number of buckets by the number of distinct values.

        Args:
            values: texts or integers of the training rows `(rows,)`; missing ones are left out.
            num_buckets: number of rows of the table; None for the power of two from a quarter of
                the distinct values on, between 1,024 and 1,048,576. Two of so many rows still tell
                nearly all values apart, in a quarter of the memory.
            num_hashes: number of hash functions.
            name: name of the column, for messages.

        Raises:
            ValueError: if there is no value, or they are neither texts nor integers.
        """
        column = _known(to_ids(values, f"HashBuckets {name!r}"))
        if not len(column):
            raise ValueError(
                f"HashBuckets {name!r}: received no values; expected at least one training row."
            )
        distinct, _ = distinct_ids(column)
        if num_buckets is None:
            wanted = -(-len(distinct) // VALUES_A_BUCKET)
            num_buckets = 1 << max(0, wanted - 1).bit_length()
            num_buckets = min(max(num_buckets, FEWEST_BUCKETS), MOST_BUCKETS)
        return cls(num_buckets, num_hashes, _dtype(column), len(column), name)

    @property
    def num_ids(self) -> int:
        """Return the number of int32 ids, padding and unknown included."""
        return self.num_buckets + FIRST_ID

    @property
    def keys(self) -> list[tuple[int, int]]:
        """Return the key of each hash function, two 64-bit integers."""
        return [(_KEY, number) for number in range(self.num_hashes)]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Compute a hash of what decides on the ids, see `Vocabulary.fingerprint`."""
        text = f"hashes {self.dtype} {self.num_buckets} {self.num_hashes}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def encode(self, values: Any) -> np.ndarray:
        """Encode texts or integers to int32 ids `(rows, num_hashes)`; missing ones become 0.

        The empty text and -1, which stand for missing values in requests, do so here too.

        Args:
            values: `(rows,)`, of the type of the training rows.

        Raises:
            ValueError: if the type is another one.
        """
        column = to_ids(values, self._owner)
        encoded = np.full((len(column), self.num_hashes), PADDING_ID, np.int32)
        there = _is_known(column)
        known = column.filter(pa.array(there))
        if not len(known):
            return encoded
        if _dtype(known) != self.dtype:
            raise ValueError(
                f"{self._owner}: expected {self.dtype} values, as in the training rows; received "
                f"{_dtype(known)}, such as {known[0].as_py()!r}. Cast the values to {self.dtype}."
            )
        distinct, positions = distinct_ids(known)
        texts = distinct.cast(pa.large_string())
        size = np.uint64(self.num_buckets)
        ids = np.stack([sip_hash(texts, key) % size for key in self.keys], axis=1)
        encoded[there] = (ids.astype(np.int32) + FIRST_ID)[positions]
        return encoded


def sizes_of(owner: str, kind: str) -> dict[str, int]:
    """Return the arguments of `HashBuckets.fit` in the name of a kind.

    Args:
        owner: start of the error message.
        kind: "hashed", "hashed:BUCKETS" or "hashed:BUCKETS:HASHES".

    Raises:
        ValueError: if there is something else behind "hashed".

    Example:

    >>> sizes_of("prepare", "hashed"), sizes_of("prepare", "hashed:4096:3")
    ({}, {'num_buckets': 4096, 'num_hashes': 3})
    """
    _, *sizes = kind.split(":")
    if len(sizes) > 2 or not all(size.isascii() and size.isdigit() for size in sizes):
        raise ValueError(
            f"{owner}: expected 'hashed', or with numbers of buckets and of hash functions "
            f"'hashed:4096' or 'hashed:4096:2'; received {kind!r}. Correct the numbers."
        )
    return dict(zip(("num_buckets", "num_hashes"), map(int, sizes), strict=False))


def _is_known(column: Any) -> np.ndarray:
    """Return which values of a column of ids are there: neither null nor padding."""
    there = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    if pa.types.is_integer(column.type):
        there &= column.fill_null(0).to_numpy(zero_copy_only=False) != RAW_PADDING["int64"]
    return there


def _known(column: Any) -> Any:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.filter(pa.array(_is_known(column)))


def _dtype(column: Any) -> str:
    return "int64" if pa.types.is_integer(column.type) else "string"
