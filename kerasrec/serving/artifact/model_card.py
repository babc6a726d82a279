"""Model card of a version: purpose, data and quality."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import kerasrec
from kerasrec.data.encoding.buckets import HashBuckets
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.schema import FIRST_ID
from kerasrec.serving.spec import ExportSpec

FILE_NAME = "model_card.md"
SECTIONS = ("description", "data", "metrics", "limits", "licence")
_PACKAGES = ("tensorflow", "keras", "numpy")
_NOT_SHOWN = ("schema", "trainable", "calibration")
_LIMITS_OF_LISTS = (
    "Ids that the training rows do not hold are unknown to the model: such users get the most "
    "popular items, marked as `fallback`."
)
_LIMITS_OF_TABLES = (
    "Values that the training rows do not hold are unknown to the model, and so are missing ones; "
    "a missing number counts as the mean of the training rows."
)


def check_card(card: Mapping[str, Any] | None) -> None:
    """Check that a card has known sections only.

    Args:
        card: content by section: a text, a mapping of names to values, or a list of such mappings.

    Raises:
        ValueError: listing the sections, if one is unknown.
    """
    if card is None:
        return
    if not isinstance(card, Mapping):
        raise ValueError(f"export: card must be a dict; received {type(card).__name__}.")
    if unknown := sorted(set(card) - set(SECTIONS)):
        raise ValueError(
            f"export: a model card has the sections {list(SECTIONS)}; received {unknown}."
        )


def render(
    spec: ExportSpec, *, signatures: Mapping[str, Any], card: Mapping[str, Any] | None
) -> str:
    """Return the card as Markdown.

    Args:
        spec: specification of the export.
        signatures: `SignatureDef` by name.
        card: content from the caller, see `check_card`.
    """
    card = card or {}
    model, schema = spec.model, spec.schema
    stored = [*spec.users, *spec.items, *(n for t in spec.tables.values() for n in t.columns)]
    versions = [f"kerasrec {kerasrec.__version__}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    config = {k: v for k, v in model.get_config().items() if k not in _NOT_SHOWN}
    lines = [f"# {type(model).__name__}", ""]
    if "description" in card:
        lines += [_section(card["description"]), ""]
    lines += [
        f"- parameters: {model.count_params():,}",
        f"- versions: {', '.join(versions)}",
        f"- signatures: {', '.join(signatures)}",
        f"- features: user {[f.name for f in schema.user]}, item {[f.name for f in schema.item]}, "
        f"context {[f.name for f in schema.context]}",
        *([f"- calibration: {spec.calibration.describe()}"] if spec.is_logit else []),
        *([f"- stored, so that requests need no more than ids: {stored}"] if stored else []),
        "",
        "```json",
        json.dumps(config, default=str),
        "```",
        "",
        "## Data",
        "",
    ]
    sums = {name: _rows_of(vocabulary) for name, vocabulary in spec.vocabularies.items()}
    users = sums.get(schema.user_id.name, 0) if schema.user else 0
    for name, rows in sums.items():
        fewer = spec.has_items and name == schema.item_id.name and rows < users
        kind = "training rows" + " that count as popularity" * fewer
        lines.append(
            f"- `{name}`: {spec.vocabularies[name].num_ids - FIRST_ID:,} ids, of {rows:,} {kind}"
        )
    lines += [
        f"- table by `{key}`: {table.keys.num_ids - FIRST_ID:,} keys"
        for key, table in spec.tables.items()
    ]
    lines.append("")
    if "data" in card:
        lines += [_section(card["data"]), ""]
    defaults = {
        "metrics": "Not given.",
        "limits": f"{_LIMITS_OF_LISTS if spec.has_items else _LIMITS_OF_TABLES} The model "
        "reproduces the patterns of its training rows, including their biases.",
        "licence": "Not given; the terms of the training data may bind the model too.",
    }
    for section, default in defaults.items():
        lines += [f"## {section.capitalize()}", "", _section(card.get(section, default)), ""]
    return "\n".join(lines)


def _rows_of(encoder: Encoder) -> int:
    return encoder.rows if isinstance(encoder, HashBuckets) else int(encoder.counts.sum())


def _section(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"- {name}: {_number(entry)}" for name, entry in value.items())
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        columns = list(dict.fromkeys(name for row in value for name in row))
        rows = [" | ".join(_number(row.get(name, "")) for name in columns) for row in value]
        head = [" | ".join(columns), " | ".join("---" for _ in columns)]
        return "\n".join(f"| {row} |" for row in [*head, *rows])
    return str(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
