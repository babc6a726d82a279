"""The models behind a served model, and their copies in float32."""

from typing import Any, NamedTuple

from kerasrec.serving.pipeline import Pipeline
from kerasrec.types import Retriever


class Parts(NamedTuple):
    """The models that an export computes with.

    Attributes:
        whole: the model that is exported.
        retriever: gives the vectors of queries and items; None if `whole` scores pair by pair.
        ranker: scores pairs; of a pipeline its ranker, else the model itself.
    """

    whole: Any
    retriever: Any
    ranker: Any

    @property
    def pipeline(self) -> Pipeline | None:
        """The model itself, if it is a pipeline."""
        return self.whole if isinstance(self.whole, Pipeline) else None


def parts_of(model: Any) -> Parts:
    """Return the parts of a model, which is its own part unless it is a pipeline.

    Args:
        model: a model or a `Pipeline`.
    """
    if isinstance(model, Pipeline):
        return Parts(model, model.retriever, model.ranker)
    return Parts(model, model if isinstance(model, Retriever) else None, model)


def float32_copy(model: Any) -> Parts:
    """Copy a model to one that computes in float32; changing the copy leaves the model as it is.

    Args:
        model: a model or a `Pipeline`.
    """
    copy = type(model).from_config({**model.get_config(), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return parts_of(copy)


def in_float32(parts: Parts) -> Parts:
    """Return the parts themselves, or copies if one of them computes in another type.

    Args:
        parts: of a built model.
    """
    models = (part for part in (parts.retriever, parts.ranker) if part is not None)
    same = all(part.compute_dtype == "float32" for part in models)
    return parts if same else float32_copy(parts.whole)
