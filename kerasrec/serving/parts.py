"""Retriever and ranker of an exported model, and float32 copies."""

from typing import Any, NamedTuple

from kerasrec.serving.pipeline import Pipeline
from kerasrec.types import Retriever


class Parts(NamedTuple):
    """Models that an export computes with.

    Attributes:
        whole: the model that is exported.
        retriever: gives the vectors of queries and items; None if `whole` scores pair by pair.
        ranker: scores pairs: the ranker of a pipeline, or the model itself.
    """

    whole: Any
    retriever: Any
    ranker: Any

    @property
    def pipeline(self) -> Pipeline | None:
        """Return the model if it is a pipeline."""
        return self.whole if isinstance(self.whole, Pipeline) else None


def parts_of(model: Any) -> Parts:
    """Return the parts of a model, which is its own retriever or ranker unless it is a pipeline.

    Args:
        model: a model or a `Pipeline`.
    """
    if isinstance(model, Pipeline):
        return Parts(model, model.retriever, model.ranker)
    # A class with vectors of items may be built for a table without items.
    retrieves = isinstance(model, Retriever) and getattr(model.schema, "item", None)
    return Parts(model, model if retrieves else None, model)


def float32_copy(model: Any) -> Parts:
    """Return a float32 copy. Tracing or changing it leaves the original model unchanged.

    Args:
        model: a model or a `Pipeline`.
    """
    copy = type(model).from_config({**model.get_config(), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return parts_of(copy)


def in_float32(parts: Parts) -> Parts:
    """Return the parts, or a float32 copy if one of them computes in another dtype.

    Args:
        parts: of a built model.
    """
    models = (part for part in (parts.retriever, parts.ranker) if part is not None)
    same = all(part.compute_dtype == "float32" for part in models)
    return parts if same else float32_copy(parts.whole)
