"""Kinds of features, and the ids of padding and unknown values."""

import dataclasses
import math
from typing import ClassVar

from kerasrec._checks import (
    check_fingerprint,
    check_finite,
    check_flag,
    check_integer,
    check_name,
    check_number,
)

PADDING_ID = 0
"""Id of padding."""

UNKNOWN_ID = 1
"""Id of all values that are not in the vocabulary."""

FIRST_ID = 2
"""First id of a known value."""

_LARGEST_LOG = 88.0
"""Largest logarithm of a float32 number."""


@dataclasses.dataclass(frozen=True)
class _Feature:
    """Base of the kinds of features, which answers what callers ask of any of them."""

    kind: ClassVar[str]  # its name in JSON
    dtype: ClassVar[str] = "int32"  # of the model's input
    has_ids: ClassVar[bool] = True  # or floats
    is_padded: ClassVar[bool] = False  # an example has several values, padded with 0, floats NaN
    is_history: ClassVar[bool] = False  # events in order, the newest last, in any width
    name: str

    def __post_init__(self) -> None:
        check_name(type(self).__name__, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single value."""
        return ()

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Return the shape of the raw values of one example."""
        return self.shape

    @property
    def raw_dtype(self) -> str:
        """Return the type of raw values of a feature without ids."""
        return self.dtype

    @property
    def missing_id(self) -> int:
        """Return the id of a single value that is missing, or of a place that is padded."""
        return PADDING_ID if self.is_padded or getattr(self, "missing", False) else UNKNOWN_ID

    @property
    def _owner(self) -> str:
        return f"{type(self).__name__} {self.name!r}"


@dataclasses.dataclass(frozen=True)
class Categorical(_Feature):
    """One id per example: a user, an item, a country.

    Args:
        name: name of the feature, which is the key in a model's input dict.
        num_ids: number of ids, padding (0) and unknown (1) included, so at least 3.
        fingerprint: `Vocabulary.fingerprint` of the ids, filled in by `make_schema`. Weights and
            vocabularies with another one are rejected; None disables the check.
        missing: whether a missing value is a category of its own, with the id 0, instead of
            unknown.
    """

    kind: ClassVar[str] = "categorical"
    num_ids: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)
    missing: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self._owner, "missing", self.missing)
        check_fingerprint(self._owner, self.fingerprint)
        # Ids are int32.
        check_integer(self._owner, "num_ids", self.num_ids, FIRST_ID + 1, 2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Bag(_Feature):
    """Unordered ids per example, padded with 0: genres, tags.

    Args:
        name: name of the feature.
        num_ids: number of ids, padding and unknown included.
        max_length: width of the padded id matrix.
        fingerprint: see `Categorical`.
    """

    kind: ClassVar[str] = "bag"
    is_padded: ClassVar[bool] = True
    num_ids: int
    max_length: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fingerprint(self._owner, self.fingerprint)
        check_integer(self._owner, "num_ids", self.num_ids, FIRST_ID + 1)
        check_integer(self._owner, "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)


@dataclasses.dataclass(frozen=True)
class Hashed(Bag):
    """One open-ended value per example, which is several ids: a device, an address.

    Columns hold the ids of `kerasrec.data.HashBuckets`, and zeros where a value is missing.
    Requests and exports hold the value itself. A model reads the ids as those of a bag.

    Args:
        name: name of the feature.
        num_ids: number of ids, padding and unknown included: two more than there are buckets.
        max_length: number of ids of a value, one by each hash function.
        fingerprint: see `Categorical`.
    """

    kind: ClassVar[str] = "hashed"

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Return the shape of the raw values of one example: a single one."""
        return ()


@dataclasses.dataclass(frozen=True)
class Numeric(_Feature):
    """Floats per example: an age, a price, a pretrained vector.

    Columns, requests and exports hold raw numbers. A model reads `(x - mean) / deviation`, and 0
    where a number is missing (NaN), which stands for the mean. With `log`, which suits counts and
    amounts with a heavy tail, x is `sign(x) log(1 + |x|)` of the raw number.

    Args:
        name: name of the feature.
        size: floats per example, all scaled alike.
        mean: mean of the training rows, filled in by `make_schema`; with `log` of their logarithms.
            Where numbers are scaled from 0 to 1, the lowest one.
        deviation: their standard deviation, likewise; or the highest number less the lowest.
        log: whether numbers are scaled on a logarithm.
        missing: whether a model also reads the share of the numbers that are missing, which is 1 or
            0 for a single number.
    """

    kind: ClassVar[str] = "numeric"
    dtype: ClassVar[str] = "float32"
    has_ids: ClassVar[bool] = False
    size: int = 1
    mean: float = dataclasses.field(default=0.0, kw_only=True)
    deviation: float = dataclasses.field(default=1.0, kw_only=True)
    log: bool = dataclasses.field(default=False, kw_only=True)
    missing: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self._owner, "size", self.size, 1)
        check_finite(self._owner, "mean", self.mean)
        check_number(self._owner, "deviation", self.deviation, zero=False)
        check_flag(self._owner, "log", self.log)
        check_flag(self._owner, "missing", self.missing)

    @property
    def width(self) -> int:
        """Return the number of floats that a model reads."""
        return math.prod(self.shape) + self.missing

    def raw(self, scaled: float) -> float:
        """Return the raw number of a scaled one: 0 is the mean, 1 is one deviation above.

        Example:

        >>> Numeric("age", mean=40.0, deviation=12.0).raw(-1.0)
        28.0
        >>> round(Numeric("views", mean=math.log(100), log=True).raw(0.0), 6)
        99.0
        """
        number = self.mean + scaled * self.deviation
        if not self.log:
            return number
        return math.copysign(math.expm1(min(abs(number), _LARGEST_LOG)), number)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single number."""
        return () if self.size == 1 else (self.size,)


@dataclasses.dataclass(frozen=True)
class Date(Numeric):
    """Moment of an example, of which a model reads parts: hour, weekday, month, and its age.

    Columns hold whole hours since 1970 in UTC, and NaN where a date is missing. Requests and
    exports hold seconds since 1970, and -1 where a date is missing. A model reads the scaled hours
    and, as 1 among zeros, the hour of the day, the day of the week and the month. Of a missing
    date all of these are 0.

    Args:
        name: name of the feature.
        size: must be 1.
        mean: mean of the hours of the training rows.
        deviation: their standard deviation.
        log: must be False.
        missing: see `Numeric`.
    """

    kind: ClassVar[str] = "date"
    parts: ClassVar[tuple[int, ...]] = (24, 7, 12)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != 1 or self.log:
            raise ValueError(
                f"{self._owner}: a date is a single number without a logarithm; received "
                f"size={self.size}, log={self.log}. Leave them out."
            )

    @property
    def raw_dtype(self) -> str:
        """Return the type of raw values: seconds."""
        return "int64"

    @property
    def width(self) -> int:
        """Return the number of floats that a model reads."""
        return super().width + sum(self.parts)


@dataclasses.dataclass(frozen=True)
class IdSequence(_Feature):
    """Ordered history of ids of another feature, newest last, padded with 0.

    `kerasrec.data` pads on the right. Models accept padding anywhere, and any width.

    Args:
        name: name of the feature.
        of: name of the categorical feature whose ids it holds (and whose table it shares).
        max_length: width of the padded id matrix.
    """

    kind: ClassVar[str] = "sequence"
    is_padded: ClassVar[bool] = True
    is_history: ClassVar[bool] = True
    of: str
    max_length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"{self._owner}: of", self.of)
        check_integer(self._owner, "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)


@dataclasses.dataclass(frozen=True)
class NumericSequence(Numeric):
    """Floats for each event of a history, such as ratings or days since the last event.

    The newest event comes last, aligned with the `IdSequence` of the item id if there is one. NaN
    is padding, since 0 is a valid value. `kerasrec.data` pads on the right. Models accept padding
    anywhere, and any width. Next to an `IdSequence`, its ids show what is padding.

    Args:
        name: name of the feature.
        size: floats per event.
        of: name of the column whose earlier values it holds; need not be a feature.
        max_length: number of events.
        mean: see `Numeric`.
        deviation: see `Numeric`.
        log: see `Numeric`.
        missing: must be False, since NaN is padding.
    """

    kind: ClassVar[str] = "numeric_sequence"
    is_padded: ClassVar[bool] = True
    is_history: ClassVar[bool] = True
    of: str = dataclasses.field(kw_only=True)
    max_length: int = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"{self._owner}: of", self.of)
        check_integer(self._owner, "max_length", self.max_length, 1)
        if self.missing:
            raise ValueError(
                f"{self._owner}: missing numbers of a sequence are its padding, which models leave "
                "out; received missing=True. Leave it out."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length, *super().shape)


@dataclasses.dataclass(frozen=True)
class BagWeights(Numeric):
    """Weights of the ids of a bag, in the order of the ids: shares of genres, counts of tags.

    A model reads them with the bag, whose vector is then the weighted mean of its rows, and not as
    numbers. NaN is padding. Of an id whose weight is missing it is 1, a weight below 0 counts as 0,
    and a bag of weights 0 is empty.

    Args:
        name: name of the feature.
        size: `max_length` of the bag.
        of: name of the bag, of the same role.
        mean: must be 0, as for other scales: weights are read as they are.
        deviation: must be 1.
        log: must be False.
        missing: must be False.
    """

    kind: ClassVar[str] = "bag_weights"
    is_padded: ClassVar[bool] = True
    of: str = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"{self._owner}: of", self.of)
        given = (self.mean, self.deviation, self.log, self.missing)
        if given != (0.0, 1.0, False, False):
            raise ValueError(
                f"{self._owner}: weights are read as they are; received (mean, deviation, log, "
                f"missing) = {given}. Leave them out."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example, that of the bag."""
        return (self.size,)

    @property
    def width(self) -> int:
        """Return 0: a model reads no numbers."""
        return 0


Feature = Categorical | Bag | Numeric | IdSequence
"""Any kind of feature."""

KINDS: dict[str, type] = {
    cls.kind: cls
    for cls in (Categorical, Bag, Hashed, Numeric, Date, BagWeights, IdSequence, NumericSequence)
}
