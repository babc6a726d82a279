"""Data sets published as one sequence of items per user, for next-item benchmarks."""

import pathlib

import numpy as np

from kerasrec.data import Interactions, Split, leave_last_out
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.movielens import TERMS as MOVIELENS_TERMS
from kerasrec.datasets.published_splits import read_lists, time_ranks
from kerasrec.datasets.storage import find_files

AMAZON_TERMS = (
    "Amazon reviews 2014 (McAuley et al., 2015; filtered by Zhou et al., 2020, S3-Rec). Research "
    "use; no licence file came with the set."
)


def sasrec_ml_1m() -> Dataset:
    """Load MovieLens 1M as the sequences of SASRec (Kang and McAuley, 2018).

    It has 6,040 users, 3,416 items with at least 5 ratings, 999,611 rows, and ids from 1. Ties in
    time keep the order of the published file. The split is the published one: each user's last item
    is the test row, and the one before it the validation row. `time_rank` is the position in the
    user's history.

    The file `sasrec-ml-1m/ml-1m.txt`, with lines `user item`, is searched in `$KERASREC_DATA`, then
    in the cache. It may not be redistributed, so it is never downloaded.

    Raises:
        ValueError: if the set is not found, or the file is damaged.
    """
    name = "sasrec-ml-1m"
    how = "Put data/ml-1m.txt of kang205/SASRec into"
    (path,) = find_files(name, how, ("ml-1m.txt",))
    return _dataset(name, path, MOVIELENS_TERMS)


def amazon_beauty_s3rec() -> Dataset:
    """Load Amazon Beauty as the sequences of S3-Rec (Zhou et al., 2020).

    It has 22,363 users, 12,101 items, 198,502 rows, and ids from 1. Each user and item has at least
    5 rows. Times are whole days, so that the order within a day is that of the file. Split and
    `time_rank` are as in `sasrec_ml_1m`.

    The file `amazon-beauty-s3rec/Beauty.txt`, with a line `user item item ...` for each user, is
    searched in `$KERASREC_DATA`, then in the cache.

    Raises:
        ValueError: if the set is not found, or the file is damaged.
    """
    name = "amazon-beauty-s3rec"
    how = "Put data/Beauty.txt of RUCAIBox/CIKM2020-S3Rec into"
    (path,) = find_files(name, how, ("Beauty.txt",))
    return _dataset(name, path, AMAZON_TERMS)


def _dataset(name: str, path: pathlib.Path, terms: str) -> Dataset:
    pairs = read_lists(path)
    users, items = pairs[np.argsort(pairs[:, 0], kind="stable")].T
    rows = Interactions.from_table(
        {"user_id": users, "item_id": items, "time_rank": time_ranks(users)},
        label=None,
        time="time_rank",
    )
    split = leave_last_out(rows, valid=1, test=1)
    method = "published split: the last item of each user is the test, the one before validation"
    return Dataset(
        name, rows, split=Split(split.train, split.valid, split.test, method), terms=terms
    )
