"""Data sets with published splits, for metrics comparable with papers."""

import pathlib
import warnings

import numpy as np

from kerasrec.data import Interactions, Split
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.movielens import TERMS as MOVIELENS_TERMS
from kerasrec.datasets.storage import find_files, read_lines

GOWALLA_TERMS = (
    "Check-ins from Gowalla (Cho et al., 2011, SNAP; split of Wang et al., 2019, NGCF). Research "
    "use; no licence file came with the split."
)


def ncf_ml_1m() -> Dataset:
    """Load MovieLens 1M as split for neural collaborative filtering (He et al., 2017).

    It has 6,040 users and 3,706 items with ids from 0, and 994,169 training rows. The last item of
    each user is the test row, with 99 items to rank it among (`negatives`). There are no ratings.
    `time_rank` is the position in the user's own history.

    The folder `ncf-ml-1m` is searched in `$KERASREC_DATA`, then in the cache. It holds
    `ml-1m.train.rating` or `ml-1m.train.pairs.tsv` (user and item first in each line, in time order
    within a user), `ml-1m.test.rating` and `ml-1m.test.negative`. It may not be redistributed, so
    it is never downloaded.

    Raises:
        ValueError: if the set is not found, or a file is damaged.
    """
    name = "ncf-ml-1m"
    train_file, test_file, negative_file = find_files(
        name,
        "Put ml-1m.* of the folder Data of hexiangnan/neural_collaborative_filtering into",
        ("ml-1m.train.pairs.tsv", "ml-1m.train.rating"),
        ("ml-1m.test.rating",),
        ("ml-1m.test.negative",),
    )
    train, test = _pairs(train_file), _pairs(test_file)
    rows, split = _split(
        train, test, "published split: the last item of each user is the test", timed=True
    )
    return Dataset(
        name,
        rows,
        split=split,
        negatives=_negatives(negative_file, test),
        terms=MOVIELENS_TERMS,
        notes=(
            "For 156 users the list of 99 negatives holds the test item itself; as in the "
            "original program it then counts once.",
        ),
    )


def gowalla_lightgcn() -> Dataset:
    """Load Gowalla check-ins as split for NGCF and LightGCN.

    It has 29,858 users and 40,981 items with ids from 0, 810,128 training rows and 217,242 test
    rows, which are a random fifth of each user's rows. There are no times.

    The folder `gowalla-lightgcn` is searched in `$KERASREC_DATA`, then in the cache. It holds
    `train.txt` and `test.txt`, with a line `user item item ...` for each user.

    Raises:
        ValueError: if the set is not found, or a file is damaged.
    """
    name = "gowalla-lightgcn"
    how = "Put train.txt and test.txt of the folder data/gowalla of gusye1234/LightGCN-PyTorch into"
    train_file, test_file = find_files(name, how, ("train.txt",), ("test.txt",))
    rows, split = _split(
        read_lists(train_file),
        read_lists(test_file),
        "published split: random rows per user",
        timed=False,
    )
    return Dataset(name, rows, split=split, terms=GOWALLA_TERMS)


def _pairs(path: pathlib.Path) -> np.ndarray:
    """Read the first two columns of a file of tab-separated numbers, `(rows, 2)`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file
            return np.loadtxt(path, np.int64, None, "\t", usecols=(0, 1), ndmin=2)
    except (ValueError, OSError, EOFError, UserWarning) as error:
        raise ValueError(
            f"{path}: expected lines `user<TAB>item...` of whole numbers; {error}. Replace the "
            "file."
        ) from error


def _negatives(path: pathlib.Path, test: np.ndarray) -> np.ndarray:
    """Read items `(rows, n)` from a line `(user,item)<TAB>item...` for each test row."""
    found: list[list[int]] = []
    for number, line in enumerate(read_lines(path, encoding="utf-8"), 1):
        pair, *items = line.split("\t")
        expected = "({},{})".format(*test[number - 1]) if number <= len(test) else "no line"
        if pair != expected:
            raise ValueError(
                f"{path}: line {number} belongs to {pair}; expected {expected}, after the test "
                "file. Replace the files."
            )
        try:
            found.append([int(item) for item in items])
        except ValueError as error:
            raise ValueError(
                f"{path}: line {number}: expected whole numbers; {error}. Replace the file."
            ) from error
    if len(found) != len(test):
        raise ValueError(
            f"{path}: expected a line for each of the {len(test)} test rows; received "
            f"{len(found)}. Replace the file."
        )
    if len({len(items) for items in found}) > 1:
        raise ValueError(
            f"{path}: expected as many items in each line; received "
            f"{sorted({len(items) for items in found})}. Replace the file."
        )
    return np.array(found)


def read_lists(path: pathlib.Path) -> np.ndarray:
    """Read pairs `(rows, 2)` from a file of lines `user item item ...`.

    Raises:
        ValueError: if a line holds anything but whole numbers.
    """
    users, items = [], []
    for number, line in enumerate(read_lines(path, encoding="utf-8"), 1):
        try:
            user, *some = map(int, line.split())
        except ValueError as error:
            raise ValueError(
                f"{path}: expected whole numbers `user item item ...`; line {number} is "
                f"{line:.80}. Replace the file."
            ) from error
        users += [user] * len(some)
        items += some
    return np.stack([users, items], axis=1).astype(np.int64)


def _split(
    train: np.ndarray, test: np.ndarray, method: str, *, timed: bool
) -> tuple[Interactions, Split]:
    """Return all rows and the published parts. With `timed`, rank each row within its user."""
    pairs = np.concatenate([train, test])
    columns = {"user_id": pairs[:, 0], "item_id": pairs[:, 1]}
    if timed:
        columns["time_rank"] = time_ranks(pairs[:, 0])
    rows = Interactions.from_table(columns, label=None, time="time_rank" if timed else None)
    positions = np.arange(len(pairs))
    parts = (positions[: len(train)], positions[:0], positions[len(train) :])
    return rows, Split(*map(rows.take, parts), method)


def time_ranks(users: np.ndarray) -> np.ndarray:
    """Return the position of each row among those of its user, `(rows,)`."""
    order = np.argsort(users, kind="stable")
    firsts = np.flatnonzero(np.diff(users[order], prepend=-1))
    ranks = np.empty(len(users), np.int64)
    ranks[order] = np.arange(len(users)) - np.repeat(firsts, np.diff(firsts, append=len(users)))
    return ranks
