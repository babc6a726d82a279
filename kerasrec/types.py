"""Names for what passes between the packages.

`Tensor` is an alias of `Any`: a Keras tensor may be a TensorFlow tensor, a symbolic KerasTensor or
a numpy array, and no static type covers the three.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kerasrec.schema import Schema

Tensor = Any
Features = Mapping[str, Tensor]
Columns = Mapping[str, np.ndarray]


@runtime_checkable
class Ranker(Protocol):
    """Anything that scores (query, item) pairs described by a schema."""

    schema: Schema

    def __call__(self, inputs: Features, training: bool = False) -> Tensor:
        """Scores `(batch,)`, or `(batch, candidates)` for item features of that shape."""
        ...


@runtime_checkable
class Retriever(Ranker, Protocol):
    """A ranker whose score is a dot product of a query and an item vector."""

    def query_embedding(self, inputs: Features) -> Tensor:
        """Vectors `(batch, dim)` from the query side (user and context features)."""
        ...

    def item_embedding(self, inputs: Features) -> Tensor:
        """Vectors `(items, dim)` from the item side, with `dot == call`."""
        ...


@runtime_checkable
class PartsRanker(Ranker, Protocol):
    """A ranker that reads queries and items once each, however many pairs of them it scores.

    Rankings of the whole catalogue use it, unless a subclass defines another `call` alone.
    """

    def item_part(self, inputs: Features) -> Tensor:
        """Vectors `(items, width)`: all that scores need of items. None: they need the pairs."""
        ...

    def query_part(self, inputs: Features) -> Tensor:
        """Vectors `(batch, width)`: all that scores need of queries."""
        ...

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Scores `(batch, items)` of every query with every item, as `call` gives them."""
        ...
