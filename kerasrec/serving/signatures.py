"""Exported signatures of a model and their APIs in TensorFlow Serving.

| signature | inputs | outputs | for |
|---|---|---|---|
| `serving_default`, `score` | every feature | `score` | all |
| `recommend`, `recommend_K` | query features, `exclude`[, `allow`] | a list of items | all |
| `similar_items` | item id | a list of items | retrievers |
| `user_embedding` | query features | `embedding` | retrievers |
| `item_embedding` | item features | `embedding` | retrievers |
| `predict_examples` | `examples`: serialised tf.Example | `score` | all |
| `regress` | `inputs`: serialised tf.Example | `outputs` | all |
| `classify` | `inputs`: serialised tf.Example | `classes`, `scores` | log odds |
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from kerasrec.retrieval.exact import check_k
from kerasrec.serving.parts import Parts
from kerasrec.serving.pipeline import Pipeline

SCORES = ("serving_default", "score")
CLASSES = ("0", "1")
"""Class names of `classify`: without and with the label."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an export, stored beside the graph so that answers can be recomputed.

    Attributes:
        ks: lengths of the recommended lists.
        signatures: names of the signatures.
        filter_by: column of the candidates that recommendations can be filtered by.
        quantize: storage of the tables of vectors, see `VectorTable`.
    """

    ks: tuple[int, ...]
    signatures: tuple[str, ...]
    filter_by: str | None = None
    quantize: str = "float32"

    @property
    def lists(self) -> dict[str, int]:
        """Return the list length of each signature that recommends."""
        every = {"recommend": self.ks[0], **{f"recommend_{k}": k for k in self.ks}}
        return {name: k for name, k in every.items() if name in self.signatures}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict, with the keys of the recorded requests."""
        return {
            "ks": list(self.ks),
            "signatures": list(self.signatures),
            "filter_by": self.filter_by,
            "tables": self.quantize,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Options":
        """Create options from the result of `to_dict`."""
        return cls(
            ks=tuple(values["ks"]),
            signatures=tuple(values["signatures"]),
            filter_by=values["filter_by"],
            quantize=values["tables"],
        )


def make_options(
    parts: Parts,
    k: int | Sequence[int],
    signatures: Sequence[str] | None,
    num_candidates: int,
    *,
    filter_by: str | None = None,
    quantize: str = "float32",
) -> Options:
    """Validate and return the options of an export.

    Args:
        parts: parts of the model.
        k: length of the lists, or several lengths.
        signatures: names, or None for all signatures of the model.
        num_candidates: size of the catalogue.
        filter_by: as checked by `candidate_columns`.
        quantize: storage of the tables.

    Raises:
        ValueError: if a length does not fit the catalogue, or the model has no such signature.
    """
    if parts.pipeline is not None:
        _check_pipeline(parts.pipeline, k, filter_by)
    more: dict[str, Any] = {"filter_by": filter_by, "quantize": quantize}
    ks = tuple(k) if isinstance(k, Sequence) and not isinstance(k, str) else (k,)
    if not ks or len(set(ks)) < len(ks):
        raise ValueError(f"export: k must be a number or several different ones; received {k!r}.")
    for one in ks:
        check_k(one, num_candidates)
    every = [*SCORES, "recommend"]
    if len(ks) > 1:
        every += [f"recommend_{one}" for one in ks]
    if parts.retriever is not None:
        every += ["similar_items", "user_embedding", "item_embedding"]
    every += ["predict_examples", "regress"]
    kind = getattr(parts.whole, "output_kind", "score")
    logits = ["classify"] if kind != "rating" else []
    if signatures is None:
        return Options(ks, (*every, *(logits if kind == "logit" else [])), **more)
    names = [signatures] if isinstance(signatures, str) else list(signatures)
    wrong = [name for name in names if name not in [*every, *logits]]
    if wrong or not names:
        raise ValueError(
            f"export: {type(parts.whole).__name__} has the signatures {[*every, *logits]}; "
            f"received {names}. Name some of them, or pass None for all."
        )
    # In canonical order, each once. The score is served under both of its names.
    if set(names) & set(SCORES):
        names += SCORES
    return Options(ks, tuple(name for name in [*every, *logits] if name in names), **more)


def _check_pipeline(pipeline: Pipeline, k: Any, filter_by: str | None) -> None:
    longest = max(k) if isinstance(k, Sequence) and k else k
    if isinstance(longest, int) and longest > pipeline.retrieve:
        raise ValueError(
            f"export: a pipeline that retrieves {pipeline.retrieve} items recommends at most as "
            f"many; received k={longest}. Build it with a larger retrieve=."
        )
    if pipeline.reranker is not None and pipeline.reranker.needs_categories and filter_by is None:
        raise ValueError(
            f"export: {type(pipeline.reranker).__name__} needs the categories of the items: pass "
            "filter_by=, the column of candidates that holds them."
        )
