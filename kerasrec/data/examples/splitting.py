"""Splits of examples into train, valid and test parts."""

import dataclasses
from typing import Literal

import numpy as np

from kerasrec._checks import check_choice, check_integer, check_share
from kerasrec.data.examples.examples import Examples
from kerasrec.data.tables.arrow import distinct_ids

OWNER = "split_examples"
WAYS = ("random", "time", "group")


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleSplit:
    """Train, valid and test parts of a table of examples. `valid` and `test` may have no rows.

    Parts that come from files of their own are put together here: `ExampleSplit(train, valid,
    test)`.

    Args:
        train: rows to fit on, encoders too.
        valid: rows to choose the epoch and the settings on; None for none.
        test: rows to report on; None for none.
        method: description of the method.

    Raises:
        ValueError: if the parts have other columns, or train has no rows.
    """

    train: Examples
    valid: Examples | None = None
    test: Examples | None = None
    method: str = "given parts"

    def __post_init__(self) -> None:
        nothing = self.train.take([])
        for name in ("valid", "test"):
            part = getattr(self, name)
            if part is None:
                object.__setattr__(self, name, nothing)
                continue
            same = all(
                getattr(part, field) == getattr(self.train, field)
                for field in ("label", "other_labels", "features")
            )
            if not same:
                raise ValueError(
                    f"ExampleSplit: {name} needs the label and the features of train, "
                    f"{self.train!r}; received {part!r}. Read it with like=train."
                )
        if not len(self.train):
            raise ValueError("ExampleSplit: train has no rows; expected some to learn from.")

    @property
    def parts(self) -> dict[str, Examples]:
        """Return the parts by name."""
        held = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in held.items() if part is not None}

    def describe(self) -> str:
        """Describe the method, and size and mean label of each part."""
        lines = [self.method]
        for name, part in self.parts.items():
            numbers = len(part) > 0 and not part.classes
            mean = f"   mean label {part.labels.mean():.4g}" if numbers else ""
            lines.append(f"{name:<6}{len(part):>12,} rows{mean}")
        return "\n".join(lines)


def split_examples(
    examples: Examples,
    by: Literal["random", "time", "group"] = "random",
    *,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> ExampleSplit:
    """Hold out validation and test rows.

    Args:
        examples: all rows.
        by: "random" draws rows, of labels with two values, and of classes, the same share of each;
            "time" takes the newest rows, of which those of equal time stay together; "group" draws
            values of the column `group` with all their rows, so that no part shares one with
            another.
        valid: share of the rows, for "group" of the groups.
        test: share likewise.
        seed: seed of the draw.

    Raises:
        ValueError: if a share is out of range or leaves a part empty, or there is no column for
            this way.

    Example:

    >>> rows = Examples.from_table({"x": range(20), "label": [0, 1] * 10})
    >>> split = split_examples(rows, valid=0.2, test=0.2)
    >>> {name: part.labels.mean().item() for name, part in split.parts.items()}
    {'train': 0.5, 'valid': 0.5, 'test': 0.5}
    """
    check_choice(OWNER, "by", by, WAYS)
    check_share(OWNER, "valid", valid, one=False)
    check_share(OWNER, "test", test, one=False)
    check_integer(OWNER, "seed", seed, 0)
    if valid + test >= 1:
        raise ValueError(
            f"{OWNER}: valid and test must leave training rows; received {valid} and {test}."
        )
    rng = np.random.default_rng(seed)
    if by == "random":
        part = _random(examples.labels, valid, test, rng, classes=bool(examples.classes))
    elif by == "time":
        part = _latest(_needed(examples, by), valid, test)
    else:
        _, groups = distinct_ids(examples.table[_needed_name(examples, by)])
        order = rng.permutation(groups.max() + 1)
        part = _by_position(np.argsort(order), valid, test)[groups]
    made = [examples.take(part == number) for number in range(3)]
    method = f"split_examples({by!r}, valid={valid}, test={test}, seed={seed})"
    for name, share, rows in zip(("train", "valid", "test"), (1, valid, test), made, strict=True):
        if share and not len(rows):
            raise ValueError(
                f"{method}: the {name} part of the {len(examples)} rows is empty. Give more rows "
                "or other shares."
            )
    return ExampleSplit(made[0], made[1], made[2], method)


def _needed_name(examples: Examples, role: str) -> str:
    name: str | None = getattr(examples, role)
    if name is None:
        raise ValueError(
            f"{OWNER}: by={role!r} needs a column for it; received examples without one. Name it "
            f"with {role}= where the rows are read."
        )
    return name


def _needed(examples: Examples, role: str) -> np.ndarray:
    return np.asarray(examples.table[_needed_name(examples, role)].to_numpy())


def _random(
    labels: np.ndarray, valid: float, test: float, rng: np.random.Generator, *, classes: bool
) -> np.ndarray:
    """Return the part of each row, drawn so that parts have the same shares of labels.

    Of numbers with more than two values the shares may differ.
    """
    values, kind = np.unique(labels, return_inverse=True)
    kind = kind if len(values) == 2 or classes else np.zeros(len(labels), int)
    # Rows of each label are spread evenly over 0 .. 1 in a random order, and cut there.
    spread_at = np.empty(len(labels))
    for number in range(kind.max(initial=0) + 1):
        rows = rng.permutation(np.flatnonzero(kind == number))
        spread_at[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    order = np.argsort(spread_at, kind="stable")
    return _by_position(np.argsort(order), valid, test)


def _by_position(position: np.ndarray, valid: float, test: float) -> np.ndarray:
    """Return the part of things by position: test first, then valid, the rest train."""
    count = len(position)
    tested, validated = (int(share * count + 1e-9) for share in (test, valid))
    return (position < tested + validated).astype(np.int8) + (position < tested)


def _latest(times: np.ndarray, valid: float, test: float) -> np.ndarray:
    """Return the part of each row by its time, with equal times in one part."""
    ordered = np.sort(times)

    def start(share: float) -> float:
        later = int(share * len(ordered) + 1e-9)
        return float("inf") if not later else float(ordered[len(ordered) - later])

    return (times >= start(valid + test)).astype(np.int8) + (times >= start(test))
