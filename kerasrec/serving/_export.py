"""Export of a trained model and its vocabularies to a version for TensorFlow Serving."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from kerasrec.data.encoding.vocabulary import KeyedTable
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.serving.artifact import sidecars
from kerasrec.serving.artifact.model_card import check_card
from kerasrec.serving.artifact.signature_defs import set_methods
from kerasrec.serving.artifact.versions import (
    StrPath,
    check_keep,
    check_version,
    list_versions,
    write_version,
)
from kerasrec.serving.graph.served_model import ServedModel
from kerasrec.serving.spec import make_spec
from kerasrec.serving.verification import reference
from kerasrec.serving.verification.budget import QuantizationBudget, check_budget, write_report
from kerasrec.types import Columns


def export(
    model: Any,
    directory: StrPath,
    *,
    vocabularies: Mapping[str, Encoder],
    version: int | None = None,
    k: int | Sequence[int] | None = None,
    users: Columns | None = None,
    items: Columns | None = None,
    tables: Mapping[str, KeyedTable] | None = None,
    candidates: Any = None,
    signatures: Sequence[str] | None = None,
    filter_by: str | None = None,
    quantize: str = "float32",
    budget: QuantizationBudget | None = None,
    keep: int | None = None,
    card: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Export a model to `directory/<version>/`, completely or not at all, for TensorFlow Serving.

    The signatures are batched, with names and types from the schema and raw values:

        serving_default, score  every feature              -> score (batch,)
        predict                 every feature              -> score, probability (batch,)
        recommend               user and context features,
                                exclude (batch, n)         -> item_id, score (batch, k)
                                                              fallback, count (batch,)
        recommend_K             the same, for each K of several k
        similar_items           item id                    -> item_id, score (batch, k)
                                                              count (batch,)
        user_embedding          user and context features  -> embedding (batch, dim)
        item_embedding          item features              -> embedding (batch, dim)
        explain                 every feature              -> history (batch, width)
                                                              contributions (batch, width)
        predict_examples        examples (batch,)          -> score (batch,)
        regress                 inputs (batch,)            -> outputs (batch,)
        classify                inputs (batch,)            -> classes, scores (batch, 2)

    `predict` is written for models whose `output_kind` is "logit": the score is the logit of the
    label, and the probability is its sigmoid, or what the calibration of the model says, see
    `kerasrec.calibration`. A table, which is a model without item features, has `predict` in any
    case, where the score is the predicted value unless it is a logit, and no `score` beside it. Its
    `serving_default` is `predict`, and of the others it has the last three.

    A table of several classes, such as `StackedLSTMClassifier` with `num_classes`, has a score and
    a probability for each, `(batch, classes)`, beside their names `classes` and the most probable
    `class`. The names are the vocabulary of the label, or numbers without one.

    `exclude` holds raw item ids and is padded with "" or -1, like bags and sequences; n may be 0. A
    user about whom nothing is known, neither the id nor another feature, gets the most popular
    items (`fallback` is true, the score is the training count). If fewer than k items are left,
    `count` is the number of filled slots; the others hold "" or -1 and the lowest float32. Ties are
    in vocabulary order.

    With `filter_by`, `recommend` has another input, `allow (batch, n)`: raw categories, padded like
    `exclude`. An item passes if one of its categories is among them. A row of padding only means no
    filter.

    Similar items and embeddings require a retriever. Similarity is the cosine of the item vectors,
    without columns that are equal for all items. The item itself is left out, and an item outside
    the catalogue has no similar items.

    Features of `users` and `items` are stored in the graph and found there by id, so that they are
    no inputs of a signature. An id that is not in the vocabulary has the row of the unknown id.
    Columns of `tables` are found by their key likewise; those of an unknown key are missing.

    `explain` is written for models whose score is a sum over the items of the user, such as EASE:
    the raw ids of these items, padded with "" or -1, and what each adds to the score.

    The last three take serialised `tf.Example`s, the last two for the Regress and Classify APIs of
    TensorFlow Serving. An Example may hold stored features, too, which then take the place of the
    stored values: so a new item is scored by what is known about it. Other missing features are
    unknown, empty or a missing number. `classify` gives the probabilities of classes "0" and "1" by
    the same calibration. It is written for models whose `output_kind` is "logit", and if it is
    named in `signatures`, for example after training with `BinaryCrossentropy(from_logits=True)`.

    A mixed-precision model is exported in float32, from the same weights. The version also contains
    `schema.json`; `assets.extra/requests.json`, requests with the answers of the Keras model, which
    `verify` replays; `assets.extra/tf_serving_warmup_requests`, which a server runs before it
    serves the version; `requests/`, a REST example per signature; `model_card.md`; and `SHA256SUMS`
    of all of them.

    Args:
        model: a built Keras model with a `schema`. If it has `query_embedding` and
            `item_embedding`, the catalogue is ranked by dot products, otherwise by calling the
            model.
        directory: folder that holds the versions; created if needed.
        vocabularies: vocabulary by feature name, as used to encode the training data.
        version: version number, or None for the highest plus one.
        k: number of recommendations, 10 if it is None. Several numbers give one signature each; the
            first is also that of `recommend` and `similar_items`. Tables recommend nothing: `k`,
            `items`, `candidates` and `filter_by` are refused.
        users: encoded user features with one row for each encoded id, as `PreparedData.users`:
            requests then send the user id alone. Features that are not in it, such as histories,
            stay inputs.
        items: encoded item features, likewise, as `PreparedData.items`. Needed if the id is not
            the only item feature, and for `filter_by`.
        tables: joined tables by key, of a model without items, as `PreparedExamples.tables`:
            requests then send the key, which need not be a feature, and their columns are found by
            it. None, and requests send the columns.
        candidates: encoded ids of the items that may be recommended; None for all.
        signatures: names of the signatures to write, None for all. Unused weights and vocabularies
            are left out.
        filter_by: column of `items` with the encoded categories of each item, `(ids,)` or padded
            to `(ids, n)`: an item feature, or a column that the model does not use. `vocabularies`
            must contain its vocabulary.
        quantize: storage of embedding tables and item vectors: "float32"; "float16", half the size;
            or "int8", 2.56 times smaller at 64 columns, see `kerasrec.retrieval.vector_table`. With
            "int8", `recommend` of a retriever finds the best 4 k + 16 items with 8 bits, and ranks
            them by exact products with the stored 12 bits. Tables of fewer than 8 columns are
            unchanged.
        budget: maximum accuracy loss of smaller tables. They are compared with float32 on random
            queries over the whole catalogue, or on random rows of a model without items;
            `tables.json` holds the result.
        keep: number of older versions to keep; the others are removed after the export. None keeps
            all.
        card: content of the model card by section ("description", "data", "metrics", "limits",
            "licence"): a text, a dict or a list of dicts.

    Returns:
        Path of the version.

    Raises:
        ValueError: if the model, a vocabulary, a table, `k`, `version` or `signatures` do not fit
            together, `keep` or `card` is invalid, the version exists, a weight is not finite,
            the budget is exceeded, or writing fails. Earlier versions are then unchanged, and
            nothing of the new one is left.

    Example:

    >>> import tempfile
    >>> from kerasrec.data import Vocabulary
    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> vocabularies = {"user": Vocabulary.fit(["ann", "bob"]), "item": Vocabulary.fit([7, 8, 9])}
    >>> schema = Schema(user=Categorical("user", 4), item=Categorical("item", 5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export(MatrixFactorization(schema), folder, vocabularies=vocabularies, k=2)
    ...     path.name, sorted(file.name for file in path.iterdir())[:3]
    ('1', ['SHA256SUMS', 'assets', 'assets.extra'])
    """
    check_version(directory, version)
    check_keep(keep)
    check_card(card)
    spec = make_spec(
        model,
        vocabularies,
        users=users,
        items=items,
        tables=tables,
        candidates=candidates,
        k=k,
        signatures=signatures,
        filter_by=filter_by,
        quantize=quantize,
    )

    def write(folder: pathlib.Path) -> None:
        texts = folder.parent / "vocabularies"
        texts.mkdir()
        served = ServedModel(spec, texts)
        if quantize != "float32":
            write_report(check_budget(spec, served, budget or QuantizationBudget()), folder)
        functions = served.signatures()
        with _quiet_tensorflow():
            read = served.used(functions.values())
            tf.saved_model.save(read, str(folder), signatures=functions)
        set_methods(folder)
        name = pathlib.Path(directory).resolve().name
        sidecars.write(folder, spec, reference.record(spec), name=name, card=card)

    try:
        return write_version(directory, version, write, keep=keep)
    except (OSError, tf.errors.OpError) as error:
        kept = list_versions(directory)
        raise ValueError(
            f"export: {str(directory)!r} could not be written: {_reason(error)}. Nothing of the "
            f"new version is left; the versions {kept} are as they were. Free some space or choose "
            "another directory."
        ) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Silence the "Assets written to" message about a temporary folder."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
