"""Item parts of a ranker of pairs, and the compiled loop that pairs them with queries.

Between its parts and its score a pair needs far more memory than for the score: half a kilobyte for
a layer of 128 units. The compiled loop therefore takes a few thousand pairs at a time, whose hidden
layers stay in the cache of a core, and only scores leave it.
"""

import dataclasses
import threading
import weakref
from typing import Any

import numpy as np

from kerasrec._repeats import find_repeats
from kerasrec.evaluation.ranking.scoring import (
    check_scores,
    in_calls,
    slices,
    take_features,
    to_numpy,
)
from kerasrec.types import Columns, PartsRanker, Ranker, has_own_parts

# Pairs of a step of the loop, and of a call. On a GPU a call is one step, to keep it busy.
_PAIRS_PER_STEP = 512
_PAIRS_PER_CALL = 1 << 17
_QUERIES_PER_CALL = 256
# Pairs from which a ranking takes longer than compiling.
_WORTH_COMPILING = 1 << 20
_ITEMS_PER_CALL = 65_536

# The compiled loop of each model, and the variables it was traced with.
_loops: "weakref.WeakKeyDictionary[Any, tuple[list[Any], Any]]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class ItemParts:
    """Item parts of a `PartsRanker`, which score the catalogue for query parts.

    Items with the same part get the score of the first of them, and always tie.

    Args:
        model: the ranker.
        parts: `(items, width)`, an array if the model computes with NumPy, else a tensor.
        repeats: positions of items with the part of an earlier item.
        originals: position of that earlier item, for each repeat.
        compiled: whether to compile `score_parts` with XLA.
    """

    model: PartsRanker
    parts: Any
    repeats: np.ndarray
    originals: np.ndarray
    compiled: bool

    @classmethod
    def of(cls, model: Ranker, items: Columns, *, queries: int) -> "ItemParts | None":
        """Compute the parts of a catalogue; None if the model has none.

        Args:
            model: any ranker.
            items: item features, one row per item.
            queries: number of queries to score, which decides whether compiling pays.
        """
        if not (isinstance(model, PartsRanker) and has_own_parts(model)):
            return None
        count = len(items[model.schema.item_id.name])
        found = []
        for rows in slices(count, _ITEMS_PER_CALL):
            part = model.item_part(take_features(items, model.schema.item, rows))
            if part is None:
                return None
            found.append(part)
        parts: Any = np.concatenate([to_numpy(part) for part in found]) + np.float32(0)  # no -0.0
        repeats = find_repeats(parts)
        if isinstance(found[0], np.ndarray):
            return cls(model, parts, *repeats, compiled=False)
        import keras  # models of NumPy need none

        parts = keras.ops.convert_to_tensor(parts)
        pays = queries * count >= _WORTH_COMPILING or count > _PAIRS_PER_CALL
        return cls(model, parts, *repeats, compiled=pays)

    def __len__(self) -> int:
        return len(self.parts)

    def queries(self, features: Columns) -> np.ndarray:
        """Compute the query parts `(queries, width)`."""
        side = {feature.name: features[feature.name] for feature in self.model.schema.query}
        return in_calls(self.model.query_part, side, self.model)

    def scores(self, queries: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the scores `(queries, items)`.

        Raises:
            ValueError: if one is NaN.
        """
        found = np.empty((len(queries), len(self)), np.float32) if out is None else out
        score = _compiled(self.model) if self.compiled else self.model.score_parts
        size = _power_of_two(_PAIRS_PER_CALL // len(self))
        for rows in slices(len(queries), size):
            some = queries[rows]
            if self.compiled:  # for calls of one size
                some = np.pad(some, [(0, size - len(some)), (0, 0)])
            block = found[rows]
            scores = to_numpy(score(some, self.parts))[: len(block)]
            block[:] = check_scores(scores, block.shape, self.model)
        if len(self.repeats):
            found[:, self.repeats] = found[:, self.originals]
        return found


def _power_of_two(queries: int) -> int:
    """Round down a number of queries, so that a larger one is a multiple of a smaller one."""
    return 1 << max(1, min(queries, _QUERIES_PER_CALL)).bit_length() - 1


def _compiled(model: PartsRanker) -> Any:
    """Return the compiled loop of a model, traced anew if the model has got other variables."""
    variables = list(getattr(model, "variables", ()))
    with _lock:
        held, loop = _loops.get(model, ([], None))
        if [*map(id, held)] != [*map(id, variables)] or loop is None:
            loop = _make_loop(model)
            _loops[model] = variables, loop
    return loop


def _make_loop(model: PartsRanker) -> Any:
    """Return a compiled function that scores all pairs, a few thousand at a time."""
    import tensorflow as tf

    called = weakref.ref(model)  # else the model would keep itself in `_loops`
    pairs = _PAIRS_PER_CALL if tf.config.list_logical_devices("GPU") else _PAIRS_PER_STEP

    def loop(queries: Any, items: Any) -> Any:
        score: Any = called()
        rows, count = queries.shape[0], items.shape[0]
        # Several queries, or a part of the catalogue.
        height = min(_power_of_two(pairs // count), rows)
        across = -(-count // pairs)
        width = -(-count // across)
        items = tf.pad(items, [[0, across * width - count], [0, 0]])
        steps = rows // height * across

        def step(at: Any, scores: Any) -> tuple[Any, Any]:
            some = tf.slice(queries, [at // across * height, 0], [height, queries.shape[1]])
            part = tf.slice(items, [at % across * width, 0], [width, items.shape[1]])
            return at + 1, scores.write(at, score.score_parts(some, part))

        scores = tf.TensorArray(tf.float32, steps, element_shape=[height, width])
        _, scores = tf.while_loop(lambda at, _: at < steps, step, (0, scores))
        return tf.reshape(scores.stack(), [rows, across * width])[:, :count]

    return tf.function(loop, jit_compile=True, autograph=False)
