"""MovieLens 100K and 1M (GroupLens)."""

import pathlib
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from kerasrec.data import Interactions, read
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.storage import (
    find_file,
    find_files,
    folders,
    install,
    not_found,
    read_fields,
    side_table,
    year_of,
)
from kerasrec.datasets.wheel import files_of_wheel

TERMS = (
    "MovieLens, GroupLens Research at the University of Minnesota. Free for research; acknowledge "
    "its use (Harper and Konstan, 2015, doi 10.1145/2827872); no redistribution and no commercial "
    "use without permission; no endorsement may be implied."
)

_WHEEL = "recbole==1.2.1"
_WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_WHEEL_FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip

_OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


def movielens_100k() -> Dataset:
    """Load MovieLens 100K: 943 users, 1,682 films, 100,000 ratings from 1 to 5.

    Times are in seconds.

    The folder `ml-100k` is searched in `$KERASREC_DATA`, then in the cache. It may hold the
    original files (`u.data`, `u.item`, `u.user`) or those of RecBole (`ml-100k.inter`, ...), which
    have the same rows in the same order. If neither is found, pip downloads RecBole's wheel, which
    contains them.

    Raises:
        ValueError: if the set is not found and cannot be downloaded, or a file is damaged.
    """
    for folder in folders("ml-100k"):
        if path := find_file(folder, "u.data"):
            return _original_100k(path)
        if path := find_file(folder, "ml-100k.inter"):
            return _recbole_100k(path)
    prefix = "recbole/dataset_example/ml-100k/"
    try:
        files = files_of_wheel(
            _WHEEL, sha256=_WHEEL_SHA256, members=[prefix + name for name in _WHEEL_FILES]
        )
    except ValueError as error:
        how = (
            f", and {error}. Connect to a network where pip can download, or put u.data, u.item "
            "and u.user of ml-100k.zip (grouplens.org) into"
        )
        raise not_found("movielens-100k", how, folders("ml-100k")) from error
    folder = install("ml-100k", files)
    print(f"movielens-100k: taken from {_WHEEL} to {folder}\n{TERMS}", file=sys.stderr)
    return _recbole_100k(folder / "ml-100k.inter")


def _original_100k(path: pathlib.Path) -> Dataset:
    interactions = read(path, format="movielens")
    users = items = None
    if file := find_file(path.parent, "u.user"):
        rows = read_fields(file, separator="|", fields=5, encoding="latin-1")
        users = _users(interactions, rows)
    if file := find_file(path.parent, "u.item"):
        rows = read_fields(file, separator="|", fields=24, encoding="latin-1")
        flags = [list(zip(_GENRES, row[5:], strict=True)) for row in rows]
        genres = [[genre for genre, flag in some if flag == "1"] for some in flags]
        items = _items(interactions, [row[:2] for row in rows], genres)
    return Dataset("movielens-100k", interactions, users, items, TERMS)


def _recbole_100k(path: pathlib.Path) -> Dataset:
    interactions = read(path, format="inter")
    users = items = None
    if file := find_file(path.parent, "ml-100k.user"):
        rows = read_fields(file, separator="\t", fields=5, encoding="utf-8")[1:]
        users = _users(interactions, rows)
    if file := find_file(path.parent, "ml-100k.item"):
        rows = read_fields(file, separator="\t", fields=4, encoding="utf-8")[1:]
        # RecBole splits off the year in brackets, and misspells the one unknown film.
        named = [
            (row[0], "unknown" if row[1] == "unkonwn" else f"{row[1]} ({row[2]})") for row in rows
        ]
        items = _items(interactions, named, [row[3].split(" ") for row in rows])
    return Dataset("movielens-100k", interactions, users, items, TERMS)


def _users(interactions: Interactions, rows: Iterable[Sequence[str]]) -> pa.Table:
    typed = [(user, int(age), *others) for user, age, *others in rows]
    columns = ("age", "gender", "occupation", "zip_code")
    return side_table(interactions, interactions.user, typed, columns)


def _items(
    interactions: Interactions, rows: Iterable[Sequence[str]], genres: Iterable[list[str]]
) -> pa.Table:
    whole = [
        (item, title, year_of(title), sorted(some))
        for (item, title), some in zip(rows, genres, strict=True)
    ]
    return side_table(interactions, interactions.item, whole, ("title", "year", "genres"))


def movielens_1m() -> Dataset:
    """Load MovieLens 1M: 6,040 users, 3,706 rated films, 1,000,209 ratings from 1 to 5.

    The folder `ml-1m` is searched in `$KERASREC_DATA`, then in the cache. It holds the original
    `ratings.dat`, or `ratings_reconstructed.csv` (columns user_id, movie_id, rating, time_rank), in
    which a rating of 0 means unknown. Those rows are left out, and a note gives their number. Side
    tables are read from `movies.dat` and `users.dat`. The set may not be redistributed, so it is
    never downloaded.

    Raises:
        ValueError: if the set is not found, or a file is damaged.
    """
    how = (
        "Its terms forbid redistribution: download ml-1m.zip from grouplens.org and put "
        "ratings.dat, movies.dat and users.dat into"
    )
    either = ("ratings.dat", "ratings_reconstructed.csv")
    (path,) = find_files("movielens-1m", how, either, folder="ml-1m")
    if path.name.startswith("ratings.dat"):
        return _with_sides_1m(read(path, format="dat"), path.parent, ())
    return _with_sides_1m(*_reconstructed(path))


def _reconstructed(path: pathlib.Path) -> tuple[Interactions, pathlib.Path, tuple[str, ...]]:
    rows = read(path, format="csv", item="movie_id", time="time_rank")
    known = rows.column("rating") > 0
    kept = rows.take(known)
    interactions = Interactions(
        kept.table.rename_columns({"movie_id": "item_id"}), time="time_rank"
    )  # fmt: skip
    return interactions, path.parent, (
        f"{np.count_nonzero(~known)} of {len(rows)} rows with an unknown rating (0) are left out.",
        "time_rank is the position in the user's own history: the order of different users' rows "
        "is unknown, so splits by global time mean nothing.",
    )  # fmt: skip


def _with_sides_1m(
    interactions: Interactions, folder: pathlib.Path, notes: tuple[str, ...]
) -> Dataset:
    users = items = None
    if file := find_file(folder, "users.dat"):
        rows = read_fields(file, separator="::", fields=5, encoding="latin-1")
        users = _users(interactions, [
            (user, age, gender, _OCCUPATIONS[int(code)], zip_code)  # age: lower end of a range
            for user, gender, age, code, zip_code in rows
        ])  # fmt: skip
    if file := find_file(folder, "movies.dat"):
        rows = read_fields(file, separator="::", fields=3, encoding="latin-1")
        items = _items(interactions, [row[:2] for row in rows], [row[2].split("|") for row in rows])
    return Dataset("movielens-1m", interactions, users, items, TERMS, notes)
