"""What a served model must answer, computed by the Keras model and numpy, not by the graph.

Seven rows cover known, unknown and unicode ids; `verify` replays them at batch 7 and each alone.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.schema import FIRST_ID, Categorical, Feature, Numeric, Schema
from kerasrec.serving.raw_ids import PADDING, as_raw, encode_raw, known_by
from kerasrec.types import Columns

FILE_NAME = "assets.extra/requests.json"
FILE_VERSION = 1
ROWS = 7
# Recorded beyond the k slots, so that an item that ties with the last slot is recognised.
SPARE_RANKS = 32
# A catalogue this small is also excluded as a whole, and but for one item.
SMALL_CATALOGUE = 2000

_PAIRS = 2**16


def record(
    model: Any, vocabularies: Mapping[str, Vocabulary], candidates: Columns, *, k: int
) -> dict[str, Any]:
    """Requests to the signatures of an export with the answers of the Keras model.

    Args:
        model: a model in float32.
        vocabularies: as checked by `check_vocabularies`.
        candidates: as checked by `candidate_columns`.
        k: number of recommendations.

    Returns:
        JSON-able dict: `k`, and `requests`, each with `signature`, `inputs`, `answers` and, for
        recommendations, the longer `ranking` with its scores.
    """
    schema: Schema = model.schema
    rng = np.random.default_rng(0)
    kinds, inputs = _inputs(schema, vocabularies, rng)
    encoded = {
        feature.name: _encode(feature, schema, vocabularies, inputs[feature.name])
        for feature in schema.features
    }
    requests = [
        {
            "signature": "serving_default",
            "inputs": _as_lists(inputs),
            "answers": {"score": np.asarray(model(encoded, training=False)).tolist()},
        }
    ]
    items = vocabularies[schema.item_id.name]
    query = {feature.name: inputs[feature.name] for feature in schema.query}
    scores = _catalogue_scores(model, encoded, candidates, items)
    ids = candidates[schema.item_id.name]
    fallback = _nothing_known(model, encoded)
    for exclude in _exclusions(scores, ids, items):
        requests.append(
            {
                "signature": "recommend",
                "inputs": _as_lists({**query, "exclude": exclude}),
                **_recommendations(scores, ids, items, exclude, fallback, k),
            }
        )
    return {"version": FILE_VERSION, "k": k, "rows": kinds, "requests": requests}


def write(recorded: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes the result of `record` into the folder of a version."""
    path = folder / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, ensure_ascii=False), encoding="utf-8")


def read(folder: pathlib.Path) -> dict[str, Any]:
    """The inverse of `write`.

    Raises:
        ValueError: if the file is missing, damaged or of another version.
    """
    path = folder / FILE_NAME
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected recorded requests in {str(path)!r}: {error}. Export the model again."
        ) from error
    version = recorded.get("version") if isinstance(recorded, dict) else None
    if version != FILE_VERSION:
        raise ValueError(
            f"{str(path)!r}: this kerasrec reads version {FILE_VERSION} of recorded requests; "
            f"received version {version!r}. Export the model again."
        )
    if missing := sorted({"k", "rows", "requests"} - set(recorded)):
        raise ValueError(f"{str(path)!r} lacks {missing}. Export the model again.")
    return recorded


def _inputs(
    schema: Schema, vocabularies: Mapping[str, Vocabulary], rng: np.random.Generator
) -> tuple[list[str], dict[str, np.ndarray]]:
    """What each row's user is, and raw inputs `(7, ...)` for all features."""
    inputs: dict[str, np.ndarray] = {}
    names = [feature.name for feature in schema.features]
    user = names.index(schema.user_id.name)
    kinds, _ = _seven(vocabularies[schema.user_id.name])
    for index, feature in enumerate(schema.features):
        if isinstance(feature, Numeric):
            inputs[feature.name] = rng.normal(size=(ROWS, *feature.shape)).astype(np.float32)
            continue
        vocabulary = vocabularies[schema.id_space(feature.name)]
        _, ids = _seven(vocabulary)
        if isinstance(feature, Categorical):
            # Shifted, so that unknown users meet known items and the other way round.
            inputs[feature.name] = np.roll(ids, index - user)
            continue
        value = np.full((ROWS, feature.max_length), PADDING[vocabulary.dtype], ids.dtype)
        for row in range(ROWS):
            length = min(row, feature.max_length)  # row 0 is empty
            value[row, :length] = rng.choice(ids, length)
        inputs[feature.name] = value
    return kinds, inputs


def _seven(vocabulary: Vocabulary) -> tuple[list[str], np.ndarray]:
    """Seven raw ids and what they are."""
    raw = vocabulary.ids
    known: list[Any] = [raw[int(place * (len(raw) - 1))] for place in (0, 1, 0.25, 0.5, 0.75)]
    if vocabulary.dtype == "int64":
        kinds = ["known", "known", "unknown", "known", "known", "unknown", "known, largest"]
        unknown = _absent(vocabulary, (2**63 - 1 - step for step in range(len(raw) + 2)), 2)
        ids = [*known[:2], unknown[0], *known[2:4], unknown[1], raw.max()]
    else:
        kinds = ["known", "known", "unknown unicode", "known", "known", "unknown", "known"]
        strange = _absent(vocabulary, (f"né-用户-🙂{'?' * n}" for n in range(len(raw) + 1)), 1)
        plain = _absent(vocabulary, (f"nobody{'?' * n}" for n in range(len(raw) + 1)), 1)
        unicode_id = next((value for value in raw if not value.isascii()), None)
        ids = [*known[:2], *strange, *known[2:4], *plain, known[4]]
        if unicode_id is not None:
            kinds[6], ids[6] = "known unicode", unicode_id
    return kinds, as_raw(ids, vocabulary.dtype)


def _absent(vocabulary: Vocabulary, proposals: Any, count: int) -> list[Any]:
    """The first proposals that are no ids of the vocabulary."""
    found: list[Any] = []
    for proposal in proposals:
        if vocabulary.encode([proposal])[0] < FIRST_ID:
            found.append(proposal)
        if len(found) == count:
            break
    return found


def _encode(
    feature: Feature, schema: Schema, vocabularies: Mapping[str, Vocabulary], raw: np.ndarray
) -> np.ndarray:
    if isinstance(feature, Numeric):
        return raw
    vocabulary = vocabularies[schema.id_space(feature.name)]
    return encode_raw(raw, vocabulary, padded=not isinstance(feature, Categorical))


def _catalogue_scores(
    model: Any, encoded: Columns, candidates: Columns, items: Vocabulary
) -> np.ndarray:
    """Scores `(7, candidates)` of the model, or the popularity for users who are not known."""
    schema: Schema = model.schema
    ids = candidates[schema.item_id.name]
    scores = np.empty((ROWS, len(ids)), np.float32)
    fallback = _nothing_known(model, encoded)
    for row in range(ROWS):
        if fallback[row]:
            scores[row] = items.counts[ids - FIRST_ID]
            continue
        query = {feature.name: encoded[feature.name][row : row + 1] for feature in schema.query}
        for start in range(0, len(ids), _PAIRS):
            block = {name: c[None, start : start + _PAIRS] for name, c in candidates.items()}
            scores[row, start : start + _PAIRS] = model({**query, **block}, training=False)[0]
    return scores


def _nothing_known(model: Any, encoded: Columns) -> np.ndarray:
    """Rows `(7,)` whose user, or history, is not known."""
    unknown = encoded[known_by(model)] < FIRST_ID
    return np.all(unknown.reshape(len(unknown), -1), axis=1)


def _exclusions(scores: np.ndarray, ids: np.ndarray, items: Vocabulary) -> list[np.ndarray]:
    """Raw ids `(7, n)` to exclude: none, a row's best and nonsense, everything."""
    dtype = items.dtype
    padding = PADDING[dtype]
    best = items.decode(ids[np.argmax(scores, axis=1)])
    unknown = _absent(
        items,
        (f"nothing{'?' * n}" for n in range(len(items) + 1))
        if dtype == "string"
        else (2**63 - 1 - step for step in range(len(items) + 1)),
        1,
    )[0]
    rows = [[raw, padding, unknown, raw, items.ids[0]] for raw in best]
    rows[-1] = [padding] * 5
    exclusions = [as_raw([[]] * ROWS, dtype), as_raw(rows, dtype)]
    if len(ids) <= SMALL_CATALOGUE:
        everything = items.decode(ids).tolist()
        rows = [everything[row % 2 :] + [padding] * (row % 2) for row in range(ROWS)]
        exclusions.append(as_raw(rows, dtype))
    return exclusions


def _recommendations(
    scores: np.ndarray,
    ids: np.ndarray,
    items: Vocabulary,
    exclude: np.ndarray,
    fallback: np.ndarray,
    k: int,
) -> dict[str, Any]:
    """The k best of each row, and the longer ranking."""
    excluded = encode_raw(exclude, items, padded=True)
    length = min(k + SPARE_RANKS, len(ids))
    lowest = float(np.finfo(np.float32).min)
    raw = np.full((ROWS, length), PADDING[items.dtype], items.ids.dtype)
    best = np.full((ROWS, length), lowest, np.float32)
    counts = []
    for row in range(ROWS):
        allowed = np.flatnonzero(~np.isin(ids, excluded[row]))
        order = allowed[np.argsort(-scores[row, allowed], kind="stable")][:length]
        raw[row, : len(order)] = items.decode(ids[order])
        best[row, : len(order)] = scores[row, order]
        counts.append(min(len(order), k))
    return {
        "answers": {
            "item_id": raw[:, :k].tolist(),
            "score": best[:, :k].tolist(),
            "fallback": fallback.tolist(),
            "count": counts,
        },
        "ranking": {
            "item_id": raw.tolist(),
            "score": best.tolist(),
            "complete": length == len(ids),
        },
    }


def _as_lists(inputs: Columns) -> dict[str, Any]:
    return {name: value.tolist() for name, value in inputs.items()}
