"""MovieTweetings: film ratings from Twitter, under an open licence."""

from kerasrec.data import read
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.storage import find_file, find_files, read_fields, side_table, year_of

TERMS = (
    "MovieTweetings, Simon Dooms, MIT licence. Please cite Dooms, De Pessemier and Martens (2013), "
    "MovieTweetings: a Movie Rating Dataset Collected From Twitter."
)


def movietweetings_100k() -> Dataset:
    """Load MovieTweetings 100K: 16,554 users, 10,506 films, 100,000 ratings from 0 to 10.

    Times are in seconds.

    Item ids are IMDb numbers with leading zeros, hence strings. The folder `movietweetings-100k` is
    searched in `$KERASREC_DATA`, then in the cache. It holds `ratings.dat`, and `movies.dat` for
    titles, years and genres.

    Raises:
        ValueError: if the set is not found, or a file is damaged.
    """
    how = (
        "Put ratings.dat and movies.dat of the folder snapshots/100K of the repository "
        "sidooms/MovieTweetings into"
    )
    (path,) = find_files("movietweetings-100k", how, ("ratings.dat",))
    interactions = read(path, format="dat")
    items = None
    if file := find_file(path.parent, "movies.dat"):
        rows = read_fields(file, separator="::", fields=3, encoding="utf-8")
        typed = [
            (item, title, year_of(title), [g for g in genres.split("|") if g])
            for item, title, genres in rows
        ]
        items = side_table(interactions, interactions.item, typed, ("title", "year", "genres"))
    return Dataset("movietweetings-100k", interactions, items=items, terms=TERMS)
