"""Vocabularies, buckets and hashes in the served graph."""

import pathlib

import tensorflow as tf

from kerasrec._keras import text_file_initializer
from kerasrec.data.encoding.buckets import Buckets, HashBuckets
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.schema import FIRST_ID, PADDING_ID, UNKNOWN_ID
from kerasrec.types import RAW_PADDING, Tensor


class IdLookup(tf.Module):
    """Vocabulary in the graph: maps raw ids to int32 ids, from an exported file.

    Args:
        vocabulary: the vocabulary.
        path: text file to write, one id per line.
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
                # Whole lines as text: an id may contain tabs or start with spaces.
                key_index=index.WHOLE_LINE if self.dtype == "string" else 0,
                value_dtype=tf.int64,
                value_index=index.LINE_NUMBER,
                vocab_size=len(vocabulary),
            ),
            default_value=-1,
        )

    def __call__(self, raw: Tensor, *, padded: bool = False) -> Tensor:
        """Return int32 ids of raw ids. Padding becomes 0 if `padded`, else unknown."""
        ids = tf.cast(self.table.lookup(raw), tf.int32) + FIRST_ID
        return tf.where(raw == RAW_PADDING[self.dtype], PADDING_ID, ids) if padded else ids


class BucketLookup(tf.Module):
    """Buckets in the graph: maps numbers to int32 ids, and missing ones to unknown.

    Args:
        buckets: the buckets.
    """

    def __init__(self, buckets: Buckets) -> None:
        super().__init__()
        self.dtype = buckets.dtype
        self.bounds = tf.Variable(buckets.ids, trainable=False, name="bounds")

    def __call__(self, raw: Tensor, *, padded: bool = False) -> Tensor:
        """Return int32 ids of numbers. Padding becomes 0 if `padded`, else unknown."""
        flat = tf.searchsorted(self.bounds, tf.reshape(raw, [-1]), side="right")
        ids = tf.reshape(flat, tf.shape(raw)) + (FIRST_ID - 1)
        return tf.where(tf.math.is_nan(raw), PADDING_ID if padded else UNKNOWN_ID, ids)


class HashLookup(tf.Module):
    """Hash buckets in the graph: maps values to several int32 ids each, missing ones to 0.

    Args:
        hashes: the hash buckets.
    """

    def __init__(self, hashes: HashBuckets) -> None:
        super().__init__()
        self.dtype = hashes.dtype
        self.num_buckets = hashes.num_buckets
        self.keys = hashes.keys

    def __call__(self, raw: Tensor, *, padded: bool = True) -> Tensor:
        """Return int32 ids `(..., num_hashes)` of raw values `(...)`."""
        text = raw if self.dtype == "string" else tf.strings.as_string(raw)
        ids = [
            tf.strings.to_hash_bucket_strong(text, self.num_buckets, list(key)) for key in self.keys
        ]
        missing = tf.expand_dims(raw == RAW_PADDING[self.dtype], -1)
        return tf.where(missing, PADDING_ID, tf.cast(tf.stack(ids, -1), tf.int32) + FIRST_ID)


def lookup_of(encoder: Encoder, path: pathlib.Path) -> "IdLookup | BucketLookup | HashLookup":
    """Return an encoder as a part of the graph.

    Args:
        encoder: vocabulary, buckets or hash buckets.
        path: text file to write if it is a vocabulary.
    """
    if isinstance(encoder, Buckets):
        return BucketLookup(encoder)
    return HashLookup(encoder) if isinstance(encoder, HashBuckets) else IdLookup(encoder, path)


def hours_of(seconds: Tensor) -> Tensor:
    """Return whole hours since 1970 of dates, NaN where one is missing.

    Args:
        seconds: int64 seconds since 1970, -1 where a date is missing.

    Example:

    >>> hours_of(tf.constant([7200, 7199, -3600, -1], tf.int64)).numpy().tolist()
    [2.0, 1.0, -1.0, nan]
    """
    hours = tf.cast(tf.math.floordiv(seconds, 3600), tf.float32)
    return tf.where(seconds == RAW_PADDING["int64"], RAW_PADDING["float32"], hours)


def newest_alone(history: Tensor, max_length: int) -> Tensor:
    """Replace all but the newest items, which a model uses, by padding.

    Args:
        history: encoded ids `(batch, length)`, 0 at padding, newest last.
        max_length: number of items kept.

    Returns:
        int32 `(batch, length)`.
    """
    from_the_end = tf.cumsum(tf.cast(history != PADDING_ID, tf.int32), axis=1, reverse=True)
    return tf.where(from_the_end <= max_length, history, PADDING_ID)
