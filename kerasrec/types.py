"""Types shared by the packages.

`Tensor` is an alias of `Any`: a Keras tensor may be a TensorFlow tensor, a symbolic KerasTensor or
a NumPy array, and no static type covers all three.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kerasrec.schema import Schema

Tensor = Any
Features = Mapping[str, Tensor]
Columns = Mapping[str, np.ndarray]

RAW_PADDING: dict[str, str | int | float] = {"string": "", "int64": -1, "float32": float("nan")}
"""Padding value of a matrix of raw ids or event numbers, by type."""


@runtime_checkable
class Ranker(Protocol):
    """Protocol of models that score (query, item) pairs described by a schema."""

    schema: Schema

    def __call__(self, inputs: Features, training: bool = False) -> Tensor:
        """Return scores `(batch,)`, or `(batch, candidates)` for item features of that shape."""
        ...


@runtime_checkable
class TwoVectors(Protocol):
    """Protocol of classes with query and item vectors. Of classes `issubclass` asks."""

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return vectors `(batch, dim)` of the query side (user and context features)."""
        ...

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return vectors `(items, dim)` of the item side, with `dot == call`."""
        ...


@runtime_checkable
class Retriever(Ranker, TwoVectors, Protocol):
    """Protocol of rankers that score by a dot product of query and item vectors."""


@runtime_checkable
class ListRanker(Ranker, Protocol):
    """Protocol of models that make whole lists, such as a pipeline of several models."""

    def recommend(
        self,
        query: Columns,
        *,
        k: int,
        candidates: Columns,
        popularity: np.ndarray,
        exclude: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Return `item` (encoded, 0 in empty slots), `score`, `count` and `fallback`."""
        ...


@runtime_checkable
class PartsRanker(Ranker, Protocol):
    """Protocol of rankers that encode queries and items once, for any number of pairs.

    Evaluation over the whole catalogue uses it, unless a subclass overrides only `call`. There XLA
    compiles `score_parts`, unless the parts are NumPy arrays.
    """

    def item_part(self, inputs: Features) -> Tensor:
        """Return the item part of the scores, `(items, width)`; None if scores need the pairs."""
        ...

    def query_part(self, inputs: Features) -> Tensor:
        """Return the query part of the scores, `(batch, width)`, of any width."""
        ...

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return scores `(batch, items)` of every query with every item, equal to `call`."""
        ...


@runtime_checkable
class SequenceModel(Protocol):
    """A model of a history, which has a query vector after every step of it.

    Its attribute `sequence` is the feature that it reads. Of classes `issubclass` asks.
    """

    def states(
        self, history: Tensor, position: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """Return the query vector after each step, `(batch, length, dim)`."""
        ...


@runtime_checkable
class StepClassifier(Protocol):
    """A model of a history, which predicts a label at every step of it."""

    def step_logits(self, inputs: Features, position: Tensor, training: bool = False) -> Tensor:
        """Return the logits of each step, `(batch, length)` or `(batch, length, classes)`."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """A model that reconstructs the items of a user, which it keeps of the training rows.

    Of classes `issubclass` asks.
    """

    def keep_rows(self, columns: Columns) -> None:
        """Keep the items of the users, by which the model knows them, instead of any before."""
        ...

    def reconstruct(self, items: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return float32 logits `(batch, item ids)` of bags of items, and a penalty of each.

        Args:
            items: int32 ids `(batch, width)`, each once, 0 at padding.
            training: whether to draw noise.
        """
        ...


@runtime_checkable
class MovingPrior(Protocol):
    """An autoencoder whose penalty depends on its state after the epoch before."""

    def update_prior(self) -> None:
        """Take the state as it is now for the next epoch."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A model that is not trained by gradients: it is computed from encoded rows."""

    def adapt(self, columns: Columns) -> None:
        """Compute the weights from the rows, instead of any rows before."""
        ...


@runtime_checkable
class GraphModel(Protocol):
    """A trained model of vectors that are smoothed over the graph of the training rows.

    It scores by tables of smoothed vectors, which are not trained. `refresh` computes them from the
    trained tables. Of classes `issubclass` asks.
    """

    def adapt(self, columns: Columns) -> None:
        """Take the graph from the rows, instead of any rows before."""
        ...

    def trained_vectors(self, users: Tensor, *items: Tensor) -> tuple[Tensor, ...]:
        """Return smoothed vectors of ids of users and items, with gradients to trained tables."""
        ...

    def refresh(self) -> None:
        """Compute the vectors by which the model scores."""
        ...


@runtime_checkable
class Biased(Protocol):
    """A model of ratings with a bias of each user and item, which training may start from."""

    def set_biases(self, mean: float, user: np.ndarray, item: np.ndarray) -> None:
        """Set the overall mean and the biases by encoded id, `(num_ids,)` each."""
        ...


@runtime_checkable
class ItemTableReader(Protocol):
    """A model that keeps features of all items, by which it reads a history of their ids.

    Of classes `issubclass` asks.
    """

    def set_items(self, items: Columns) -> None:
        """Keep the features of the items, one row for each encoded id, instead of any before."""
        ...


@runtime_checkable
class HistoryReader(Protocol):
    """A model that says what identifies a query: a history, the user id, or one of several."""

    known_by: str | tuple[str, ...]


@runtime_checkable
class ProfileReader(Protocol):
    """A ranker that scores by the items of a query, and knows nothing of one without any."""

    def items_of(self, inputs: Features) -> Tensor:
        """Return the item ids of each query `(batch, width)`, 0 at padding."""
        ...


@runtime_checkable
class Explainer(Protocol):
    """A ranker whose score is a sum over the items of the user."""

    def contributions(self, inputs: Features) -> tuple[Tensor, Tensor]:
        """Return item ids `(batch, width)` and what each adds to the score."""
        ...


@runtime_checkable
class OneItemRanker(Ranker, Protocol):
    """A ranker without item vectors that ranks for an item alone, which `similar_items` asks."""

    def scores_of_items(self, items: Tensor) -> Tensor:
        """Return the scores of all items for users with one item each, `(batch, item ids)`."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A model that says what its output is; that of any other `Ranker` is a score."""

    output_kind: str  # "score", "rating", "logit", or "logits", which rank nothing

    def __call__(self, inputs: Features, training: bool = False) -> Tensor:
        """Return predictions `(batch, ...)`."""
        ...


def output_kind(model: object) -> str:
    """Return what the output of a model is, see `Predictor`."""
    return model.output_kind if isinstance(model, Predictor) else "score"


def is_computed(model: object) -> bool:
    """Return whether `adapt` alone makes a model, or models of a class, without training.

    Args:
        model: any model, or a class.
    """
    kind = model if isinstance(model, type) else type(model)
    return issubclass(kind, Counted) and not issubclass(kind, GraphModel)


def reads_profiles(model: object) -> bool:
    """Return whether a model knows nothing of a query without items, see `ProfileReader`.

    Vectors over a graph also know a user by the id.
    """
    return isinstance(model, ProfileReader) and not isinstance(model, GraphModel)


def has_own_parts(model: object) -> bool:
    """Return whether a `PartsRanker` defines the parts with `call`, or in a subclass of its class.

    Args:
        model: any model.
    """
    classes = type(model).__mro__

    def depth(name: str) -> int:
        return next((at for at, kind in enumerate(classes) if name in vars(kind)), len(classes))

    own = depth("score_parts") <= min(depth("call"), depth("__call__"))
    return isinstance(model, PartsRanker) and own


def known_by(model: Any) -> tuple[str, ...]:
    """Return the names of the features that tell who asks: a history, or all features of the user.

    A model of a history serves users it has never seen, and so does one that is told other things
    about them. A query in which nothing of these is known gets the most popular items.

    Args:
        model: a ranker.
    """
    schema: Schema = model.schema
    if isinstance(model, HistoryReader):
        names = model.known_by
        return (names,) if isinstance(names, str) else tuple(names)
    reads: Any = model  # a Protocol that asks for attributes cannot be asked of classes
    if isinstance(model, SequenceModel):
        return (str(reads.sequence.name),)
    if isinstance(model, StepClassifier):
        read = schema.item_histories[:1] or schema.number_histories
        return tuple(history.name for history in read)
    return tuple(feature.name for feature in schema.user)
