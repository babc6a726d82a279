"""Interactions from TensorFlow Datasets."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from kerasrec.data import Interactions
from kerasrec.datasets.dataset import Dataset


def from_tfds(
    builder: str,
    *,
    split: str = "train",
    user: str = "user_id",
    item: str = "movie_id",
    label: str | None = "user_rating",
    time: str | None = "timestamp",
    context: Sequence[str] = (),
    title: str | None = "movie_title",
    duplicates: Literal["error", "keep"] = "error",
    data_dir: str | os.PathLike[str] | None = None,
    download_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load interactions from a TFDS builder. The roles default to those of MovieLens.

    TFDS downloads and prepares the builder if that has not been done before.

    Args:
        builder: name of the builder with its config, such as `movielens/100k-ratings`.
        split: split of the builder.
        user: feature of the user id.
        item: feature of the item id.
        label: feature of the rating; None for implicit feedback.
        time: feature that orders the rows; None where there is none.
        context: features that describe the moment.
        title: feature that names the item, for the side table. There is no side table if it is None
            or missing.
        duplicates: "error", or "keep" to allow repeated (user, item) pairs.
        data_dir: folder of prepared data sets; by default that of TFDS.
        download_dir: folder of downloads; by default below `data_dir`.

    Raises:
        ValueError: if there is no such builder, split or feature, it cannot be prepared, or
            `Interactions` rejects its values.
    """
    source = _builder(builder, data_dir)
    wanted = [name for name in (user, item, label, time, *context) if name is not None]
    features = list(source.info.features or ())
    if missing := [name for name in wanted if name not in features]:
        raise ValueError(
            f"tfds:{builder}: expected the features {wanted}; it lacks {missing} and has "
            f"{sorted(features)}. Name them with user=, item=, label=, time=, context=."
        )
    _prepare(source, builder, split, download_dir)
    titles = [title] if title is not None and title in features else []
    columns = _columns(source, split, wanted + titles)
    interactions = Interactions.from_table(
        {name: columns[name] for name in wanted},
        user=user,
        item=item,
        label=label,
        time=time,
        context=context,
        duplicates=duplicates,
    )
    items = None
    for name in titles:
        first = np.unique(interactions.codes(item), return_index=True)[1]
        texts = [
            value.decode() if isinstance(value, bytes) else str(value)
            for value in columns[name][first]
        ]
        items = pa.table({item: interactions.column(item)[first], "title": texts})
    return Dataset(
        f"tfds:{builder}",
        interactions,
        items=items,
        terms=source.info.redistribution_info.license or source.info.citation,
    )


def tfds_files(
    builder: str,
    *,
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
    download_dir: str | os.PathLike[str] | None = None,
) -> list[pathlib.Path]:
    """Return the files of a prepared TFDS builder, for `kerasrec.data.stream_tfrecord`.

    A set larger than memory can then be read piece by piece, each worker its part. Features that
    TFDS stores as numbers or text are read as they are. Encoded features are not decoded.

    Args:
        builder: name of the builder with its config, such as `movielens/100k-ratings`.
        split: split of the builder.
        data_dir: folder of prepared data sets; by default that of TFDS.
        download_dir: folder of downloads; by default below `data_dir`.

    Returns:
        Paths of TFRecord files of `tf.train.Example`, in order.

    Raises:
        ValueError: if there is no such builder or split, it cannot be prepared, or was prepared in
            another format.
    """
    source = _builder(builder, data_dir)
    _prepare(source, builder, split, download_dir)
    kind = source.info.file_format
    if kind is None or kind.value != "tfrecord":
        raise ValueError(
            f"tfds:{builder}: expected files in TFDS' format 'tfrecord'; it was prepared as "
            f"{kind and kind.value!r}. Prepare it anew in another data_dir."
        )
    return [pathlib.Path(path) for path in source.info.splits[split].filepaths]


def _builder(builder: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds  # brings TensorFlow, which costs seconds

    try:
        source = tfds.builder(builder, data_dir=data_dir and os.fspath(data_dir))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise ValueError(
            f"tfds:{builder}: TensorFlow Datasets has no such builder ({_first_line(error)}). The "
            "name is builder/config, such as tfds:movielens/100k-ratings."
        ) from error
    return source


def _prepare(
    source: Any, builder: str, split: str, download_dir: str | os.PathLike[str] | None
) -> None:
    try:
        source.download_and_prepare(download_dir=download_dir and os.fspath(download_dir))
    except Exception as error:  # TFDS raises what the network, disk and parsers raise
        raise ValueError(
            f"tfds:{builder}: TensorFlow Datasets could not prepare it: {_first_line(error)}. It "
            "downloads from the data's origin: check the network, or pass data_dir= of a machine "
            "where it is prepared."
        ) from error
    if split not in source.info.splits:
        raise ValueError(
            f"tfds:{builder}: expected one of the splits {sorted(source.info.splits)}; received "
            f"{split!r}."
        )


def _columns(source: Any, split: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some features of all examples, in the order of the prepared files."""
    import tensorflow_datasets as tfds

    examples = source.as_dataset(
        split=split, read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    )
    wanted = examples.map(lambda example: {name: example[name] for name in names})
    parts = list(tfds.as_numpy(wanted.batch(8192)))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
