"""Loader of all data sets."""

import inspect
import os
import pathlib
from collections.abc import Callable
from typing import Any

from kerasrec.data import read
from kerasrec.data.tables.aliases import nearest
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.movielens import movielens_1m, movielens_100k
from kerasrec.datasets.movietweetings import movietweetings_100k
from kerasrec.datasets.published_sequences import amazon_beauty_s3rec, sasrec_ml_1m
from kerasrec.datasets.published_splits import gowalla_lightgcn, ncf_ml_1m
from kerasrec.datasets.synthetic_ratings import synthetic
from kerasrec.datasets.tensorflow_datasets_source import from_tfds

_NAMED: dict[str, Callable[..., Dataset]] = {
    "amazon-beauty-s3rec": amazon_beauty_s3rec,
    "gowalla-lightgcn": gowalla_lightgcn,
    "movielens-100k": movielens_100k,
    "movielens-1m": movielens_1m,
    "movietweetings-100k": movietweetings_100k,
    "ncf-ml-1m": ncf_ml_1m,
    "sasrec-ml-1m": sasrec_ml_1m,
    "synthetic": synthetic,
}
_TFDS = "tfds:"


def names() -> list[str]:
    """Return the names that `load` knows, besides `tfds:<builder>` and paths."""
    return sorted(_NAMED)


def load(name: str | os.PathLike[str], **options: Any) -> Dataset:
    """Load a data set by name, or from a file.

    | name | source | options |
    |---|---|---|
    | `movielens-100k` | from `$KERASREC_DATA`, the cache, or downloaded | none |
    | `movielens-1m` | your own copy in `$KERASREC_DATA` or the cache | none |
    | `movietweetings-100k` | your own copy in `$KERASREC_DATA` or the cache | none |
    | `ncf-ml-1m`, `gowalla-lightgcn` | published splits: your own copy, as above | none |
    | `sasrec-ml-1m`, `amazon-beauty-s3rec` | published sequences, likewise | none |
    | `synthetic` | drawn at random, with a known optimum | those of `synthetic` |
    | `tfds:<builder>` | a builder of TensorFlow Datasets | those of `from_tfds` |
    | a path | a file of interactions | those of `kerasrec.data.read` |

    The cache is `$KERASREC_CACHE`, else `$XDG_CACHE_HOME/kerasrec`, else `~/.cache/kerasrec`.

    Args:
        name: one of the above.
        options: as in the table. Other options raise an error.

    Raises:
        ValueError: if the name is neither known nor a file, an option is invalid, or the data are
            not available. The message says how to get them.

    Example:

    >>> dataset = load("synthetic", num_users=6, num_items=5, ratings_per_user=2)
    >>> dataset.interactions.num_users
    6
    """
    if isinstance(name, str) and name in _NAMED:
        return _call(name, _NAMED[name], options)
    if isinstance(name, str) and name.startswith(_TFDS):
        return _call(name, from_tfds, options, name.removeprefix(_TFDS))
    path = pathlib.Path(name)
    if not path.is_file():
        raise ValueError(
            f"load: {os.fspath(name)!r} is neither a data set nor a file; expected one of "
            f"{names()}, 'tfds:<builder>' such as 'tfds:movielens/100k-ratings', or the path of a "
            "file."
            f"{nearest(os.fspath(name), names())}"
        )
    return Dataset(str(path), _call(str(path), read, options, path))


def _call(name: str, function: Callable[..., Any], options: dict[str, Any], *first: Any) -> Any:
    """Call a loader after checking that it takes all the options."""
    taken = list(inspect.signature(function).parameters)[len(first) :]
    if unknown := sorted(set(options) - set(taken)):
        raise ValueError(
            f"load: {name!r} takes {f'the options {taken}' if taken else 'no options'}; received "
            f"{unknown}."
        )
    return function(*first, **options)
