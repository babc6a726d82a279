"""Exported signatures of a model and their APIs in TensorFlow Serving.

| signature | inputs | outputs | for |
|---|---|---|---|
| `serving_default`, `score` | every feature that is not stored | `score` | all |
| `recommend`, `recommend_K` | query features, `exclude`[, `allow`] | a list of items | all |
| `similar_items` | item id | a list of items | retrievers, models of the items of a user |
| `user_embedding` | query features | `embedding` | retrievers |
| `item_embedding` | item features | `embedding` | retrievers |
| `explain` | every feature | `history`, `contributions` | sums over the items of the user |
| `predict_examples` | `examples`: serialised tf.Example | `score` | all |
| `regress` | `inputs`: serialised tf.Example | `outputs` | all |
| `classify` | `inputs`: serialised tf.Example | `classes`, `scores` | log odds |
"""

from collections.abc import Sequence

from kerasrec._checks import check_integer
from kerasrec.serving.parts import Parts
from kerasrec.types import Explainer, OneItemRanker, output_kind

SCORES = ("serving_default", "score")
CLASSES = ("0", "1")
"""Class names of `classify`: without and with the label."""


def choose_signatures(
    parts: Parts, k: int | Sequence[int], signatures: Sequence[str] | None, num_candidates: int
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Validate and return the lengths of the lists and the names of the signatures of an export.

    Args:
        parts: parts of the model.
        k: length of the lists, or several lengths.
        signatures: names, or None for all signatures of the model.
        num_candidates: size of the catalogue.

    Raises:
        ValueError: if a length does not fit the catalogue, or the model has no such signature.
    """
    ks = tuple(k) if isinstance(k, Sequence) and not isinstance(k, str) else (k,)
    if not ks or len(set(ks)) < len(ks):
        raise ValueError(f"export: k must be a number or several different ones; received {k!r}.")
    for one in ks:
        hint = f"The catalogue has {num_candidates} items."
        check_integer("export", "k", one, 1, num_candidates, numpy=True, hint=hint)
    every = [*SCORES, "recommend"]
    if len(ks) > 1:
        every += [f"recommend_{one}" for one in ks]
    if parts.retriever is not None:
        every += ["similar_items", "user_embedding", "item_embedding"]
    elif isinstance(parts.whole, OneItemRanker):
        every.append("similar_items")
    if isinstance(parts.whole, Explainer):
        every.append("explain")
    every += ["predict_examples", "regress"]
    kind = output_kind(parts.whole)
    logits = ["classify"] if kind != "rating" else []
    if signatures is None:
        return ks, (*every, *(logits if kind == "logit" else []))
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
    return ks, tuple(name for name in [*every, *logits] if name in names)
