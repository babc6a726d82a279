"""Vocabularies in the served graph."""

import pathlib

import tensorflow as tf

from kerasrec._keras import text_file_initializer
from kerasrec.data.vocabulary import Vocabulary
from kerasrec.schema import FIRST_ID, PADDING_ID
from kerasrec.serving.raw_ids import PADDING
from kerasrec.types import Tensor


class IdLookup(tf.Module):
    """A vocabulary in the graph: raw ids to int32 ids, from a file that is exported along.

    Args:
        vocabulary: the map.
        path: text file to write, one id a line.
    """

    def __init__(self, vocabulary: Vocabulary, path: pathlib.Path) -> None:
        super().__init__()
        self.dtype = vocabulary.dtype
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.writelines(f"{raw}\n" for raw in vocabulary.ids.tolist())
        index = tf.lookup.TextFileIndex
        self.table = tf.lookup.StaticHashTable(
            text_file_initializer(
                str(path),
                key_dtype=tf.as_dtype(self.dtype),
                # Whole lines for text: an id may hold tabs or start with spaces.
                key_index=index.WHOLE_LINE if self.dtype == "string" else 0,
                value_dtype=tf.int64,
                value_index=index.LINE_NUMBER,
                vocab_size=len(vocabulary),
            ),
            default_value=-1,
        )

    def __call__(self, raw: Tensor, *, padded: bool = False) -> Tensor:
        """Int32 ids of raw ids; padding becomes 0 if `padded`, else unknown."""
        ids = tf.cast(self.table.lookup(raw), tf.int32) + FIRST_ID
        return tf.where(raw == PADDING[self.dtype], PADDING_ID, ids) if padded else ids


def newest_alone(history: Tensor, max_length: int) -> Tensor:
    """Return histories in which all but the newest items, those that a model reads, are padding.

    Args:
        history: encoded ids `(batch, length)`, 0 at padding, newest last.
        max_length: how many are kept.

    Returns:
        int32 `(batch, length)`.
    """
    from_the_end = tf.cumsum(tf.cast(history != PADDING_ID, tf.int32), axis=1, reverse=True)
    return tf.where(from_the_end <= max_length, history, PADDING_ID)
