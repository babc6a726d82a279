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
import pathlib
from collections.abc import Sequence
from typing import Any

from kerasrec._checks import check_choice, check_integer
from kerasrec._keras import saved_model_message, write_fingerprint
from kerasrec.retrieval.vector_table import KINDS
from kerasrec.serving.pipeline import Pipeline, retriever_of

SCORES = ("serving_default", "score")
METHODS = {
    "classify": "tensorflow/serving/classify",
    "regress": "tensorflow/serving/regress",
}
"""Method names required by TensorFlow Serving's Classify and Regress; others are Predict."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an export, stored beside the graph so that answers can be recomputed.

    Attributes:
        ks: lengths of the recommended lists.
        signatures: names of the signatures.
        filter_by: column of the candidates that recommendations can be filtered by.
        tables: storage of the tables of vectors, see `VectorTable`.
    """

    ks: tuple[int, ...]
    signatures: tuple[str, ...]
    filter_by: str | None = None
    tables: str = "float32"

    @property
    def lists(self) -> dict[str, int]:
        """Return the list length of each signature that recommends."""
        every = {"recommend": self.ks[0], **{f"recommend_{k}": k for k in self.ks}}
        return {name: k for name, k in every.items() if name in self.signatures}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict."""
        values = dataclasses.asdict(self)
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Options":
        """Create options from the result of `to_dict`."""
        made: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**made)


def make_options(
    model: Any,
    k: int | Sequence[int],
    signatures: Sequence[str] | None,
    num_candidates: int,
    *,
    filter_by: str | None = None,
    tables: str = "float32",
) -> Options:
    """Validate and return the options of an export.

    Args:
        model: the model.
        k: length of the lists, or several lengths.
        signatures: names, or None for all signatures of the model.
        num_candidates: size of the catalogue.
        filter_by: as checked by `candidate_columns`.
        tables: storage of the tables.

    Raises:
        ValueError: if a length does not fit the catalogue, the model has no such signature, or the
            kind of table is unknown.
    """
    check_choice("export", "tables", tables, KINDS)
    if isinstance(model, Pipeline):
        _check_pipeline(model, k, filter_by)
    more: dict[str, Any] = {"filter_by": filter_by, "tables": tables}
    ks = tuple(k) if isinstance(k, Sequence) and not isinstance(k, str) else (k,)
    if not ks or len(set(ks)) < len(ks):
        raise ValueError(f"export: k must be a number or several different ones; received {k!r}.")
    for one in ks:
        hint = f"The catalogue has {num_candidates} items."
        check_integer("export", "k", one, 1, num_candidates, numpy=True, hint=hint)
    every = [*SCORES, "recommend"]
    if len(ks) > 1:
        every += [f"recommend_{one}" for one in ks]
    if retriever_of(model) is not None:
        every += ["similar_items", "user_embedding", "item_embedding"]
    every += ["predict_examples", "regress"]
    kind = getattr(model, "output_kind", "score")
    logits = ["classify"] if kind != "rating" else []
    if signatures is None:
        return Options(ks, (*every, *(logits if kind == "logit" else [])), **more)
    names = [signatures] if isinstance(signatures, str) else list(signatures)
    wrong = [name for name in names if name not in [*every, *logits]]
    if wrong or not names:
        raise ValueError(
            f"export: {type(model).__name__} has the signatures {[*every, *logits]}; received "
            f"{names}. Name some of them, or pass None for all."
        )
    # In canonical order, each once. The score is served under both of its names.
    if set(names) & set(SCORES):
        names += SCORES
    return Options(ks, tuple(name for name in [*every, *logits] if name in names), **more)


def _check_pipeline(model: Pipeline, k: Any, filter_by: str | None) -> None:
    longest = max(k) if isinstance(k, Sequence) and k else k
    if isinstance(longest, int) and longest > model.retrieve:
        raise ValueError(
            f"export: a pipeline that retrieves {model.retrieve} items recommends at most as many; "
            f"received k={longest}. Build it with a larger retrieve=."
        )
    if model.reranker is not None and model.reranker.needs_categories and filter_by is None:
        raise ValueError(
            f"export: {type(model.reranker).__name__} needs the categories of the items: pass "
            "filter_by=, the column of candidates that holds them."
        )


def set_methods(folder: pathlib.Path) -> None:
    """Set the method names of Classify and Regress in a SavedModel, which TensorFlow does not.

    Args:
        folder: folder of the SavedModel, before it is published.
    """
    path = folder / "saved_model.pb"
    saved = saved_model_message(path.read_bytes())
    for graph in saved.meta_graphs:
        for name in set(METHODS) & set(graph.signature_def):
            graph.signature_def[name].method_name = METHODS[name]
    path.write_bytes(saved.SerializeToString(deterministic=True))
    write_fingerprint(folder)
