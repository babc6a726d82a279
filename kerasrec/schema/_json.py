"""JSON of a schema: its versions, and the features as objects.

2: numeric sequences. 3: fingerprints. 4: positives. 5: scaling of numbers, the time column, sides
without an id. 6: logarithms of numbers, missing values told from others, dates, hashed values,
weights of bags, other labels. Older versions are read as they are. Version 6 is written for schemas
that need it, and 5 for others.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA_VERSION = 6
"""Newest version of the JSON that `Schema.to_json` writes."""

_SINCE_6 = {"log": False, "missing": False}
"""Keys that are new in version 6, with the values that older versions imply."""

_KINDS_SINCE_6 = ("bag_weights", "date", "hashed")

ROLES = ("user", "item", "context")


def describe(features: Iterable[Any]) -> list[dict[str, Any]]:
    """Return features as JSON objects, without values of None and what an old version implies."""
    found = [{"kind": f.kind, **dataclasses.asdict(f)} for f in features]
    return [
        {k: v for k, v in config.items() if v is not None and v != _SINCE_6.get(k)}
        for config in found
    ]


def version_of(features: Iterable[Mapping[str, Any]]) -> int:
    """Return the oldest version from 5 on that can hold these features.

    Args:
        features: the result of `describe`.

    Example:

    >>> version_of([{"kind": "numeric", "name": "age"}]), version_of([{"log": True}])
    (5, 6)
    """
    new = (
        set(_SINCE_6) & set(config) or config.get("kind") in _KINDS_SINCE_6 for config in features
    )
    return 6 if any(new) else 5


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Schema: expected JSON text; received {text[:80]!r} ({error})."
        ) from error


def read_fields(config: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the fields of a schema from its JSON object, of any version.

    Args:
        config: the object.
        kinds: class of a feature by its name in JSON.

    Raises:
        ValueError: if the object comes from a newer version or is malformed.
    """
    if not isinstance(config, Mapping):
        raise ValueError(
            f"Schema: expected a JSON object; received {type(config).__name__}: {config!r:.80}."
        )
    version = config.get("version")
    if not isinstance(version, int) or version not in range(1, SCHEMA_VERSION + 1):
        raise ValueError(
            f"Schema: this kerasrec reads schema versions 1 to {SCHEMA_VERSION}; received "
            f"version {version!r}. A newer version needs a newer kerasrec: pip install -U "
            "kerasrec."
        )
    keys = [*ROLES, "label"]
    keys += ["positive"] if version >= 4 else []
    keys += ["time"] if version >= 5 else []
    keys += ["other_labels"] if version >= 6 and "other_labels" in config else []
    unknown = sorted(set(config) - {"version", *keys})
    missing = sorted(set(keys) - set(config))
    if unknown or missing:
        raise ValueError(
            f"Schema: expected version and {keys}; missing {missing}, unknown {unknown}."
        )
    fields = {key: config[key] for key in keys}
    return fields | {role: tuple(_feature(f, kinds) for f in config[role]) for role in ROLES}


def _feature(config: Any, kinds: Mapping[str, type]) -> Any:
    values = dict(config) if isinstance(config, Mapping) else {}
    kind = values.pop("kind", None)
    if kind not in kinds:
        raise ValueError(
            f"Schema: a feature needs one of the kinds {sorted(kinds)}; received {config!r}."
        )
    cls: Any = kinds[kind]
    fields = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - fields):
        raise ValueError(
            f"Schema: a {kind} feature has the keys {sorted(fields)}; unknown {unknown}."
        )
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(
            f"Schema: a {kind} feature needs {sorted(fields)}; received {config!r}."
        ) from error
