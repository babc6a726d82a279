"""Answers of a model of several classes in the served graph."""

from collections.abc import Sequence

import tensorflow as tf

from kerasrec.types import Tensor


def class_answer(names: Sequence[str], logits: Tensor) -> dict[str, Tensor]:
    """Return the probability of each class, the names in the same order, and that of the first.

    Args:
        names: names of the classes.
        logits: `(batch, classes)`.

    Returns:
        `probability` and `classes` `(batch, classes)`, and `class` `(batch,)`, the most probable.
    """
    texts = tf.constant(list(names))
    return {
        "probability": tf.nn.softmax(logits),
        "classes": tf.tile(texts[None], [tf.shape(logits)[0], 1]),
        "class": tf.gather(texts, tf.argmax(logits, axis=1)),
    }
