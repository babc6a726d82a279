"""Exported signatures of a model and their APIs in TensorFlow Serving.

| signature | inputs | outputs | for |
|---|---|---|---|
| `serving_default`, `score` | every feature that is not stored | `score` | all |
| `predict` | every feature that is not stored | `score`[, `probability`] | log odds, tables |
| `recommend`, `recommend_K` | query features, `exclude`[, `allow`] | a list of items | all |
| `similar_items` | item id | a list of items | retrievers, models of the items of a user |
| `user_embedding` | query features | `embedding` | retrievers |
| `item_embedding` | item features | `embedding` | retrievers |
| `explain` | every feature | `history`, `contributions` | sums over the items of the user |
| `predict_examples` | `examples`: serialised tf.Example | `score` | all |
| `regress` | `inputs`: serialised tf.Example | `outputs` | all |
| `classify` | `inputs`: serialised tf.Example | `classes`, `scores` | log odds |

A table is a model without item features. It has `predict`, which is also its `serving_default`, and
the last three. `predict` returns the `probability` of the label beside log odds, by the calibration
of the model. So does `classify`. A table of several classes has a logit and a probability for each,
the names `classes` and the most probable `class`, and no `regress`.
"""

from collections.abc import Sequence

from kerasrec._checks import check_integer
from kerasrec.schema import Schema
from kerasrec.serving.parts import Parts
from kerasrec.types import Explainer, OneItemRanker, output_kind

SERVING_DEFAULT = "serving_default"
CLASSES = ("0", "1")
"""Class names of `classify`: without and with the label."""


def list_lengths(k: int | Sequence[int], num_candidates: int) -> tuple[int, ...]:
    """Validate and return the lengths of the recommended lists.

    Args:
        k: length of the lists, or several lengths.
        num_candidates: size of the catalogue.

    Raises:
        ValueError: if a length does not fit the catalogue.
    """
    ks = tuple(k) if isinstance(k, Sequence) and not isinstance(k, str) else (k,)
    if not ks or len(set(ks)) < len(ks):
        raise ValueError(f"export: k must be a number or several different ones; received {k!r}.")
    for one in ks:
        hint = f"The catalogue has {num_candidates} items."
        check_integer("export", "k", one, 1, num_candidates, numpy=True, hint=hint)
    return ks


def default_signature(schema: Schema) -> str:
    """Return the name under which the signature `serving_default` is written once more.

    Args:
        schema: the features of the model.
    """
    return "score" if schema.item else "predict"


def choose_signatures(
    parts: Parts, ks: Sequence[int], signatures: Sequence[str] | None
) -> tuple[str, ...]:
    """Validate and return the names of the signatures of an export.

    Args:
        parts: parts of the model.
        ks: lengths of the lists; none for a table.
        signatures: names, or None for all signatures of the model.

    Raises:
        ValueError: if the model has no such signature.
    """
    kind = output_kind(parts.whole)
    default = default_signature(parts.whole.schema)
    every = [SERVING_DEFAULT, default]
    if kind == "logit" and default != "predict":
        every.append("predict")
    every += _of_items(parts, ks) if ks else []
    every += ["predict_examples", *(["regress"] if kind != "logits" else [])]
    logits = ["classify"] if kind != "rating" else []
    if signatures is None:
        return (*every, *(logits if kind in ("logit", "logits") else []))
    names = [signatures] if isinstance(signatures, str) else list(signatures)
    wrong = [name for name in names if name not in [*every, *logits]]
    if wrong or not names:
        raise ValueError(
            f"export: {type(parts.whole).__name__} has the signatures {[*every, *logits]}; "
            f"received {names}. Name some of them, or pass None for all."
        )
    # In canonical order, each once. The default is served under both of its names.
    if {SERVING_DEFAULT, default} & set(names):
        names += [SERVING_DEFAULT, default]
    return tuple(name for name in [*every, *logits] if name in names)


def _of_items(parts: Parts, ks: Sequence[int]) -> list[str]:
    """Return the names of the signatures of a model with a catalogue."""
    names = ["recommend"]
    if len(ks) > 1:
        names += [f"recommend_{one}" for one in ks]
    if parts.retriever is not None:
        names += ["similar_items", "user_embedding", "item_embedding"]
    elif isinstance(parts.whole, OneItemRanker):
        names.append("similar_items")
    if isinstance(parts.whole, Explainer):
        names.append("explain")
    return names
