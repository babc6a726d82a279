"""Expected answers of a served model, computed by Keras and NumPy without the graph.

Nine rows cover known, unknown, empty, unicode and very long ids, and in tables a row without any
value and one of numbers out of range. `verify` replays them in batches of 1, 7 and 64.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasrec.data.encoding.buckets import Buckets, HashBuckets
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.schema import FIRST_ID, PADDING_ID, Categorical, Date, Feature, Numeric, Schema
from kerasrec.serving.artifact import recorded_requests
from kerasrec.serving.graph.examples import make_examples
from kerasrec.serving.raw_ids import as_raw, encode_raw
from kerasrec.serving.signatures import CLASSES
from kerasrec.serving.spec import ExportSpec, row_of
from kerasrec.serving.verification.expected_lists import ExpectedLists, absent
from kerasrec.types import RAW_PADDING, Columns

ROWS = 9
# Row about whose user nothing is known; in a table nothing at all.
NOTHING = 7
# Row of a table with numbers so many deviations from the mean. Farther ones would make products of
# features too large for differences of float32 to stay within the bound.
FAR, DEVIATIONS = 4, 10.0
LONG_ID = "x" * 4096
# Values of any kind, since none is unknown: whole words of eight bytes and parts of them.
_HASHED: dict[str, list[Any]] = {
    "string": ["a", "né-用户-🙂", "", "eight by", "a b", "nobody", "x\ny", "", LONG_ID],
    "int64": [0, 2**31 + 5, -1, -2, 7, 2**63 - 1, -(2**63), -1, 2**40],
}


def record(spec: ExportSpec) -> dict[str, Any]:
    """Record requests to the signatures of an export, with the answers of the Keras model.

    Args:
        spec: specification of the export.

    Returns:
        JSON-serialisable dict: `options`, and `requests`, each with `signature`, `inputs`,
        `answers` and, for lists of items, the longer `ranking` with its scores. Bytes are
        `{"b64": ...}`, as in TensorFlow Serving's JSON.
    """
    schema, retriever = spec.schema, spec.rounded.retriever
    kinds, drawn = _inputs(schema, spec.vocabularies, np.random.default_rng(0))
    for key, joined in spec.tables.items():
        if not isinstance(spec.vocabularies.get(key), Vocabulary):  # no feature, or a hashed one
            drawn[key] = _nine(joined.keys)[1]
    inputs = {feature.name: drawn[feature.name] for feature in spec.requested(schema.features)}
    encoded = {
        feature.name: _encode(feature, schema, spec.vocabularies, drawn[feature.name])
        for feature in schema.features
    }
    for key, joined in spec.tables.items():
        encoded[row_of(key)] = encode_raw(drawn[key], joined.keys, padded=False)
    # Every second Example holds stored features too, with values of its own.
    examples, in_examples = dict(drawn), dict(encoded)
    for id_name, table in spec.stored.items():
        for name, column in table.items():
            encoded[name] = column[encoded[id_name]]
            examples[name] = drawn[name].copy()
            examples[name][::2] = RAW_PADDING[spec.dtypes[name]]
            given = ~_missing(examples[name], column.ndim)
            in_examples[name] = np.where(given, in_examples[name], encoded[name])
    encoded, in_examples = (
        {feature.name: columns[feature.name] for feature in schema.features}
        for columns in (encoded, in_examples)
    )
    requests: list[dict[str, Any]] = []

    def add(name: str, inputs: Columns, found: Mapping[str, Any]) -> None:
        requests.append({"signature": name, "inputs": _as_lists(inputs), **found})

    scores = np.asarray(spec.rounded.whole(encoded, training=False))
    serialized = make_examples(examples)
    of_examples = np.asarray(spec.rounded.whole(in_examples, training=False))
    query = {feature.name: inputs[feature.name] for feature in spec.requested(schema.query)}
    item = {feature.name: inputs[feature.name] for feature in spec.requested(schema.item)}
    lists: Any = ExpectedLists(spec, encoded) if spec.has_items else None
    limits = {} if spec.filter_by is None else {"allow": lists.filters()}
    for name in spec.signatures:
        if spec.written_as(name) == "score":
            add(name, inputs, _answers(score=scores))
        elif spec.written_as(name) == "predict":
            chance = {"probability": spec.calibration.probability(scores)} if spec.is_logit else {}
            if spec.classes:
                chance = _class_answer(spec.classes, scores)
            add(name, inputs, _answers(score=scores, **chance))
        elif name in spec.lists:
            # All kinds of exclusions once. For other lengths only item, unknown id and padding.
            for exclude in lists.exclusions() if name == "recommend" else lists.exclusions()[1:2]:
                found = lists.recommend(exclude, spec.lists[name], **limits)
                add(name, {**query, "exclude": exclude, **limits}, found)
        elif name == "similar_items":
            asked = item[schema.item_id.name]
            found = lists.similar(encoded[schema.item_id.name], spec.ks[0])
            add(name, {schema.item_id.name: asked}, found)
        elif name == "user_embedding":
            add(name, query, _answers(embedding=retriever.query_embedding(encoded)))
        elif name == "item_embedding":
            add(name, item, _answers(embedding=retriever.item_embedding(encoded)))
        elif name == "explain":
            ids, parts = map(np.asarray, spec.rounded.whole.contributions(encoded))
            padding = RAW_PADDING[spec.item_vocabulary.dtype]
            known = spec.item_vocabulary.decode(np.maximum(ids, FIRST_ID))
            history = np.where(ids < FIRST_ID, padding, known)
            add(name, inputs, _answers(history=history, contributions=parts))
        elif name == "predict_examples":
            add(name, {"examples": serialized}, _answers(score=of_examples))
        elif name == "regress":
            add(name, {"inputs": serialized}, _answers(outputs=of_examples))
        elif spec.classes:
            every = _class_answer(spec.classes, of_examples)
            found = _answers(classes=every["classes"], scores=every["probability"])
            add(name, {"inputs": serialized}, found)
        else:
            yes = spec.calibration.probability(of_examples)
            found = _answers(classes=[list(CLASSES)] * ROWS, scores=np.stack([1 - yes, yes], 1))
            add(name, {"inputs": serialized}, found)
    return {
        "version": recorded_requests.FILE_VERSION,
        "options": {
            "ks": list(spec.ks),
            "signatures": list(spec.signatures),
            "filter_by": spec.filter_by,
            "tables": spec.quantize,
        },
        "rows": kinds,
        "requests": requests,
    }


def _inputs(
    schema: Schema, vocabularies: Mapping[str, Any], rng: np.random.Generator
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return a description of each row's user, and raw inputs `(9, ...)` of all features."""
    inputs: dict[str, np.ndarray] = {}
    names = [feature.name for feature in schema.features]
    leading = _leading(schema, vocabularies)
    kinds = ["known"] * ROWS
    kinds[NOTHING] = "empty"
    if leading is not None:
        kinds, _ = _nine(vocabularies[leading])
    first = 0 if leading is None else names.index(leading)
    for index, feature in enumerate(schema.features):
        if isinstance(feature, Numeric):
            inputs[feature.name] = draw_numbers(feature, ROWS, rng)
            if isinstance(feature, Date):
                inputs[feature.name] = (3600 * inputs[feature.name].astype(float)).astype(np.int64)
            elif not feature.is_history:
                inputs[feature.name][NOTHING] = np.nan
            continue
        vocabulary = vocabularies[schema.id_space(feature.name)]
        if isinstance(vocabulary, Buckets):  # at bounds, between them, and missing
            steps = np.array([0, -1, 1e6, np.nan], np.float32)
            inputs[feature.name] = rng.choice(vocabulary.ids[1:], ROWS) + np.resize(steps, ROWS)
            continue
        if isinstance(vocabulary, HashBuckets):
            inputs[feature.name] = as_raw(_HASHED[vocabulary.dtype], vocabulary.dtype)
            continue
        _, ids = _nine(vocabulary)
        if isinstance(feature, Categorical):
            # Shifted, so that unknown users meet known items and vice versa.
            inputs[feature.name] = np.roll(ids, index - first)
            continue
        value = np.full((ROWS, feature.max_length), RAW_PADDING[vocabulary.dtype], ids.dtype)
        ids = ids[ids != RAW_PADDING[vocabulary.dtype]]
        for row in range(ROWS):
            length = min(row, feature.max_length)  # row 0 is empty
            value[row, :length] = rng.choice(ids, length)
        inputs[feature.name] = value
    for feature in schema.user if schema.item else schema.features:
        inputs[feature.name][NOTHING] = RAW_PADDING[_dtype(inputs[feature.name])]
    numbers = [f for f in schema.features if isinstance(f, Numeric) and not schema.item]
    kinds[FAR] += ", numbers out of range" * bool(numbers)
    for index, feature in enumerate(numbers):
        far = DEVIATIONS if index % 2 == 0 else -DEVIATIONS
        inputs[feature.name][FAR] = feature.raw(far) * (3600 if isinstance(feature, Date) else 1)
    return kinds, inputs


def _leading(schema: Schema, vocabularies: Mapping[str, Any]) -> str | None:
    """Return the feature whose ids say what each row is about; None without ids."""
    if schema.user:
        return schema.user_id.name
    found = (f.name for f in schema.features if isinstance(f, Categorical))
    return next((name for name in found if isinstance(vocabularies[name], Vocabulary)), None)


def _nine(vocabulary: Vocabulary) -> tuple[list[str], np.ndarray]:
    """Return nine raw ids and their descriptions."""
    raw = vocabulary.ids
    padding = RAW_PADDING[vocabulary.dtype]
    known: list[Any] = [raw[int(position * (len(raw) - 1))] for position in (0, 1, 0.25, 0.5, 0.75)]
    if vocabulary.dtype == "int64":
        kinds = ["known", "known", "unknown", "known", "known", "unknown", "known, largest"]
        kinds += ["empty", "unknown"]
        unknown = absent(vocabulary, (2**63 - 1 - step for step in range(len(raw) + 3)), 3)
        ids = [*known[:2], unknown[0], *known[2:4], unknown[1], raw.max(), padding, unknown[2]]
    else:
        kinds = ["known", "known", "unknown unicode", "known", "known", "unknown", "known"]
        kinds += ["empty", "unknown, very long"]
        strange = absent(vocabulary, (f"né-用户-🙂{'?' * n}" for n in range(len(raw) + 1)), 1)
        plain = absent(vocabulary, (f"nobody{'?' * n}" for n in range(len(raw) + 1)), 1)
        long = absent(vocabulary, (f"{LONG_ID}{'?' * n}" for n in range(len(raw) + 1)), 1)
        unicode_id = next((value for value in raw if not value.isascii()), None)
        ids = [*known[:2], *strange, *known[2:4], *plain, known[4], padding, *long]
        if unicode_id is not None:
            kinds[6], ids[6] = "known unicode", unicode_id
    return kinds, as_raw(ids, vocabulary.dtype)


def _encode(
    feature: Feature, schema: Schema, vocabularies: Mapping[str, Any], raw: np.ndarray
) -> np.ndarray:
    if isinstance(feature, Date):
        return np.where(raw == RAW_PADDING["int64"], np.nan, raw // 3600).astype(np.float32)
    if isinstance(feature, Numeric):
        return raw
    vocabulary = vocabularies[schema.id_space(feature.name)]
    return encode_raw(raw, vocabulary, padded=feature.missing_id == PADDING_ID)


def draw_numbers(feature: Numeric, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Draw raw numbers as in the training rows, `(rows,) + shape`."""
    drawn = rng.normal(size=(rows, *feature.shape))
    return np.vectorize(feature.raw, otypes=[np.float32])(drawn)


def _dtype(raw: np.ndarray) -> str:
    return {"O": "string", "f": "float32"}.get(raw.dtype.kind, "int64")


def _missing(raw: np.ndarray, rank: int) -> np.ndarray:
    """Return the mask `(rows, 1 ...)` of a rank of the rows in which nothing is given."""
    missing = np.isnan(raw) if raw.dtype.kind == "f" else raw == RAW_PADDING[_dtype(raw)]
    return missing.reshape(len(raw), -1).all(axis=1).reshape(-1, *[1] * (rank - 1))


def _class_answer(names: Sequence[str], logits: np.ndarray) -> dict[str, Any]:
    """Return probabilities, names and the most probable name of the classes, from logits."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return {
        "probability": powers / powers.sum(axis=1, keepdims=True),
        "classes": [list(names)] * len(logits),
        "class": [names[at] for at in logits.argmax(axis=1)],
    }


def _answers(**arrays: Any) -> dict[str, Any]:
    return {"answers": {name: np.asarray(array).tolist() for name, array in arrays.items()}}


def _as_lists(inputs: Columns) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(element) for element in value]
        return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

    return {name: plain(value.tolist()) for name, value in inputs.items()}
