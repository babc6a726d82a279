"""Splits of interactions into train, valid and test parts, without leakage.

Every row goes to exactly one part, and every part keeps the order of the rows.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_integer, check_share
from kerasrec.data.tables.interactions import Interactions


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Train, valid and test parts of one set of interactions. `valid` may have no rows.

    Args:
        train: rows to fit on. Vocabularies and statistics may only use these.
        valid: rows to choose the epoch and the hyper-parameters on.
        test: rows to report on.
        method: description of the method, for `describe`.

    Example:

    >>> rows = Interactions.from_table({
    ...     "user_id": [1, 1, 1, 2, 2, 3], "item_id": [5, 6, 7, 5, 8, 6],
    ...     "rating": [1, 2, 3, 4, 5, 6], "timestamp": [10, 20, 30, 10, 20, 10]})
    >>> split = leave_last_out(rows, valid=0, test=1)
    >>> split.test.column("item_id").tolist(), split.cold_items.tolist()
    ([7, 8], [7, 8])
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    method: str

    @property
    def cold_users(self) -> np.ndarray:
        """Return the raw ids of test users without training rows."""
        return _cold(self.train, self.test, self.train.user)[0]

    @property
    def cold_items(self) -> np.ndarray:
        """Return the raw ids of test items without training rows."""
        return _cold(self.train, self.test, self.train.item)[0]

    @property
    def repeated_pairs(self) -> int:
        """Return the number of test rows whose (user, item) pair is in train too."""
        both = pa.concat_tables([self.train.table, self.test.table])
        pairs = pa.array(dataclasses.replace(self.train, table=both).pairs())
        train, test = pairs[: len(self.train)], pairs[len(self.train) :]
        return int(pc.sum(pc.is_in(test, value_set=train), min_count=0).as_py())

    def describe(self) -> str:
        """Describe the method, the size of each part, and ids without training rows."""
        lines = [self.method]
        for name in ("train", "valid", "test"):
            part = getattr(self, name)
            lines.append(
                f"{name:<6}{len(part):>12,} rows {part.num_users:>10,} users "
                f"{part.num_items:>10,} items"
            )
        for name in ("valid", "test"):
            part = getattr(self, name)
            for role, column in (("users", part.user), ("items", part.item)):
                cold, unknown = _cold(self.train, part, column)
                if len(cold):
                    rows = np.count_nonzero(unknown[part.codes(column)])
                    lines.append(
                        f"{name}: {len(cold):,} {role} have no training row ({rows:,} of "
                        f"{len(part):,} rows); to a model their ids are unknown"
                    )
        if repeated := self.repeated_pairs:
            lines.append(
                f"test: {repeated:,} of {len(self.test):,} rows repeat a (user, item) pair of the "
                "training rows"
            )
        return "\n".join(lines)


def random_split(
    interactions: Interactions, *, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Split rows at random. Users and items may end up without training rows.

    Args:
        interactions: the rows.
        valid: share of the rows, rounded down.
        test: share of the rows, rounded down.
        seed: seed of the draw.

    Raises:
        ValueError: if the shares are out of range or leave a part empty.
    """
    _check_shares(valid, test)
    count = len(interactions)
    order = np.random.default_rng(seed).permutation(count)
    part = np.zeros(count, np.int8)
    tested, validated = _floor(test * count), _floor(valid * count)
    part[order[:tested]] = 2
    part[order[tested : tested + validated]] = 1
    method = f"random_split(valid={valid}, test={test}, seed={seed})"
    return _split(interactions, part, method, valid, test)


def k_fold(
    interactions: Interactions, *, folds: int = 5, seed: int = 0, valid: float = 0.0
) -> Iterator[Split]:
    """Split for cross-validation: each row is in the test part of one fold.

    The rows are shuffled with `numpy.random.RandomState(seed)` and cut into consecutive blocks. If
    the division leaves a remainder, the first blocks are one row longer. These are the folds of the
    Surprise library, so that results compare row by row.

    Args:
        interactions: the rows.
        folds: number of folds.
        seed: seed of the shuffle.
        valid: share of the training rows of each fold to move to its valid part, at random.

    Raises:
        ValueError: if there are fewer rows than folds, or a share is out of range.
    """
    count = len(interactions)
    hint = f"There are {count} rows to share out."
    check_integer("k_fold", "folds", folds, 2, count, hint=hint)
    _check_shares(valid, 0.0, empty=True)
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)

    def splits() -> Iterator[Split]:
        for fold, block in enumerate(np.array_split(order, folds)):
            part = np.zeros(count, np.int8)
            part[block] = 2
            rest = np.flatnonzero(part == 0)
            drawn = np.random.default_rng([seed, fold]).permutation(rest)
            part[drawn[: _floor(valid * rest.size)]] = 1
            method = f"k_fold(folds={folds}, seed={seed}, valid={valid}), fold {fold + 1}"
            yield _split(interactions, part, method, valid, 1)

    return splits()


def leave_last_out(interactions: Interactions, *, valid: int = 1, test: int = 1) -> Split:
    """Hold out each user's last rows: the newest for test, those before for validation.

    Of rows with the same time, the later one in the file counts as newer. Users with at most `valid
    + test` rows stay entirely in the training part.

    Args:
        interactions: the rows, with a time column.
        valid: rows of each user for this part.
        test: rows of each user for this part.

    Raises:
        ValueError: without a time column or users of enough rows, or for a number out of range.
    """
    for name, value in (("valid", valid), ("test", test)):
        hint = "It counts rows of each user."
        check_integer("leave_last_out", name, value, int(name == "test"), hint=hint)
    from_end, lengths, ties = _user_order(interactions)
    enough = lengths > valid + test
    part = _last(from_end, enough * valid, enough * test)
    short = len(np.unique(interactions.codes(interactions.user)[~enough]))
    method = f"leave_last_out(valid={valid}, test={test}); {ties}"
    if short:
        method += f"; {short:,} users with at most {valid + test} rows stay in train whole"
    return _split(interactions, part, method, valid, test)


def per_user_time_split(
    interactions: Interactions, *, valid: float = 0.1, test: float = 0.1
) -> Split:
    """Hold out each user's latest share of rows. Every user keeps a training row.

    Shares are rounded down. Rows with the same time keep the order of the file. Other users'
    training rows may be later than a test row, which `global_time_split` excludes.

    Args:
        interactions: the rows, with a time column.
        valid: share of each user's rows for this part.
        test: share of each user's rows for this part.

    Raises:
        ValueError: without a time column, or if the shares are out of range or leave a part empty.
    """
    _check_shares(valid, test)
    from_end, lengths, ties = _user_order(interactions)
    tested, validated = _floor(test * lengths), _floor(valid * lengths)
    part = _last(from_end, validated, tested)
    method = f"per_user_time_split(valid={valid}, test={test}); {ties}"
    return _split(interactions, part, method, valid, test)


def global_time_split(
    interactions: Interactions,
    *,
    valid: float = 0.1,
    test: float = 0.1,
    cuts: tuple[int, int] | None = None,
) -> Split:
    """Split all rows at moments in time, so that nothing is learned from the future.

    Rows with the same time go to one part, so the shares are only approximate. A cut among equal
    times moves them all to the later part.

    Args:
        interactions: the rows, with a time column.
        valid: share of the rows for this part.
        test: share of the rows for this part.
        cuts: first time of the valid part and first time of the test part, in the unit of the time
            column, instead of shares.

    Raises:
        ValueError: without a time column, or if cuts or shares are out of range or leave a part
            empty.
    """
    time = _time(interactions, "global_time_split")
    if cuts is None:
        _check_shares(valid, test)
        ordered = np.sort(time)
        test_from, earlier = _cut(ordered, int(_floor(test * len(ordered))))
        valid_from, _ = _cut(ordered[:earlier], int(_floor(valid * len(ordered))))
        method = f"global_time_split(valid={valid}, test={test})"
    else:
        valid_from, test_from = _checked_cuts(cuts)
        valid, test = float(valid_from < test_from), 1.0
        method = "global_time_split"
    part = (time >= valid_from).astype(np.int8) + (time >= test_from)
    method += f"; valid from time {valid_from}, test from {test_from}"
    return _split(interactions, part, method, valid, test)


def predefined_split(
    train: Interactions, test: Interactions, valid: Interactions | None = None
) -> Split:
    """Create a split from parts in files of their own, such as `u1.base` and `u1.test`.

    Args:
        train: training rows.
        test: test rows.
        valid: validation rows; None for an empty part.

    Raises:
        ValueError: if the parts have other columns or types, or train or test has no rows, or a
            complete row of train occurs in test or valid.
    """
    valid = train.take([]) if valid is None else valid
    others = {"valid": valid, "test": test}
    for name, part in others.items():
        if not isinstance(part, Interactions) or part.columns != train.columns:
            raise ValueError(
                f"predefined_split: {name} must be Interactions with the columns {train.columns} "
                f"of train; received {part!r}. Read all parts with the same roles."
            )
        if part.table.schema.types != train.table.schema.types:
            raise ValueError(
                f"predefined_split: the columns {train.columns} have the types "
                f"{_types(train)} in train and {_types(part)} in {name}. Give the ids of all parts "
                "one type: read their files with the same id_type."
            )
    if not len(train) or not len(test):
        raise ValueError(
            f"predefined_split: train and test need rows; received {len(train)} and {len(test)}."
        )
    for name, part in others.items():
        if leaked := _shared_rows(train, part):
            raise ValueError(
                f"predefined_split: {leaked} of {len(part)} rows of {name} are in train as well, "
                "all columns equal. Take them out of one of the two."
            )
    return Split(train, valid, test, "predefined_split")


def _split(
    interactions: Interactions, part: np.ndarray, method: str, valid: float, test: float
) -> Split:
    train_rows, valid_rows, test_rows = (interactions.take(part == n) for n in range(3))
    split = Split(train_rows, valid_rows, test_rows, method)
    for name, share in (("train", 1), ("valid", valid), ("test", test)):
        rows = getattr(split, name)
        if share and not len(rows):
            raise ValueError(
                f"{method}: the {name} part of the {len(interactions)} rows is empty. Give more "
                "rows or other sizes; equal times stay together in global_time_split."
            )
    return split


def _check_shares(valid: float, test: float, empty: bool = False) -> None:
    for name, share in (("valid", valid), ("test", test)):
        check_share("split", name, share, one=False)
    if valid + test >= 1 or (valid + test == 0 and not empty):
        raise ValueError(
            "split: the sum of valid and test, shares of the rows, must be above 0 and below 1; "
            f"received valid={valid!r}, test={test!r}."
        )


def _floor(number: float | np.ndarray) -> np.ndarray:
    # 0.29 * 100 is 28.999999999999996: a share of whole rows must not lose one to rounding.
    return np.floor(number + 1e-9).astype(np.int64)


def _time(interactions: Interactions, method: str) -> np.ndarray:
    if interactions.time is None:
        raise ValueError(
            f"{method}: expected a time column; these interactions have {interactions.columns}. "
            "Split rows without times at random, by random_split or --split random. If they are in "
            "the order of time, number them: interactions.with_time(np.arange(len(interactions)))."
        )
    return interactions.column(interactions.time)


def _user_order(interactions: Interactions) -> tuple[np.ndarray, np.ndarray, str]:
    """Return each row's position from the end of its user's history, and that history's length."""
    time = _time(interactions, "split by time of each user")
    users = interactions.codes(interactions.user)
    order = np.lexsort((time, users))
    ordered, moments = users[order], time[order]
    counts = np.bincount(users)
    ends = np.cumsum(counts)
    from_end = np.empty(len(users), np.int64)
    from_end[order] = ends[ordered] - 1 - np.arange(len(users))
    ties = int(((np.diff(ordered) == 0) & (np.diff(moments) == 0)).sum())
    text = f"{ties:,} rows share user and time with the row before and keep the order of the file"
    return from_end, counts[users], text if ties else "no two rows of a user share a time"


def _last(from_end: np.ndarray, valid: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the part of each row, from the numbers of valid and test rows of its user."""
    return (from_end < valid + test).astype(np.int8) + (from_end < test)


def _cut(ordered: np.ndarray, later: int) -> tuple[int, int]:
    """Return the start of a tail of at least `later` times, and the number of times before it."""
    if not len(ordered):
        return 0, 0
    if not later:
        return int(ordered[-1]) + 1, len(ordered)
    cut = ordered[max(len(ordered) - later, 0)]
    return int(cut), int(np.searchsorted(ordered, cut))


def _cold(train: Interactions, part: Interactions, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the part's distinct values that have no training row, and a mask of them."""
    values = part.distinct(column)
    cold = pc.invert(pc.is_in(values, value_set=train.distinct(column)))
    found, mask = (array.to_numpy(zero_copy_only=False) for array in (values.filter(cold), cold))
    return np.asarray(found), np.asarray(mask)


def _shared_rows(train: Interactions, part: Interactions) -> int:
    """Count the part's rows that equal a training row in every column."""
    both = dataclasses.replace(train, table=pa.concat_tables([train.table, part.table]))
    rows = np.zeros(len(both), np.int64)
    for name in train.columns:
        codes = both.codes(name)
        rows = rows * (int(codes.max(initial=0)) + 1) + codes
        rows = np.unique(rows, return_inverse=True)[1]  # smaller than the row count: no overflow
    return int(np.isin(rows[len(train) :], rows[: len(train)]).sum())


def _types(rows: Interactions) -> list[str]:
    kinds = rows.table.schema.types
    return ["string" if pa.types.is_dictionary(kind) else str(kind) for kind in kinds]


def _checked_cuts(cuts: tuple[int, int]) -> tuple[int, int]:
    owner = "global_time_split"
    if not isinstance(cuts, tuple | list) or len(cuts) != 2:
        raise ValueError(
            f"{owner}: cuts takes two times, (first of valid, first of test); received {cuts!r}."
        )
    for cut in cuts:
        if isinstance(cut, bool) or not isinstance(cut, int | np.integer):
            raise ValueError(
                f"{owner}: a cut must be an integer in the unit of the time column, not {cut!r}."
            )
    if cuts[0] > cuts[1]:
        raise ValueError(
            f"{owner}: cuts must rise: (first time of valid, first time of test); received "
            f"{cuts!r}."
        )
    return int(cuts[0]), int(cuts[1])
