"""Kinds of features, and the ids of padding and unknown values."""

import dataclasses
from typing import ClassVar

from kerasrec._checks import (
    check_fingerprint,
    check_finite,
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
    """

    kind: ClassVar[str] = "categorical"
    num_ids: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
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
class Numeric(_Feature):
    """Floats per example: an age, a price, a pretrained vector.

    Columns, requests and exports hold raw numbers. A model reads `(x - mean) / deviation`, and 0
    where a number is missing (NaN), which stands for the mean.

    Args:
        name: name of the feature.
        size: floats per example, all scaled alike.
        mean: mean of the training rows, filled in by `make_schema`.
        deviation: their standard deviation.
    """

    kind: ClassVar[str] = "numeric"
    dtype: ClassVar[str] = "float32"
    has_ids: ClassVar[bool] = False
    size: int = 1
    mean: float = dataclasses.field(default=0.0, kw_only=True)
    deviation: float = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self._owner, "size", self.size, 1)
        check_finite(self._owner, "mean", self.mean)
        check_number(self._owner, "deviation", self.deviation, zero=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single number."""
        return () if self.size == 1 else (self.size,)


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

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length, *super().shape)


Feature = Categorical | Bag | Numeric | IdSequence
"""Any kind of feature."""

KINDS: dict[str, type] = {
    cls.kind: cls for cls in (Categorical, Bag, Numeric, IdSequence, NumericSequence)
}
