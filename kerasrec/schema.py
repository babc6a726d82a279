"""Schema of a model's inputs: names, kinds, sizes and roles of the features.

Only the standard library is imported here, so that a schema can be read anywhere.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from kerasrec._checks import check_fingerprint, check_integer, check_name, read_comparison

PADDING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2

# 2: numeric sequences. 3: fingerprints. 4: positives. Older versions are read as they are.
SCHEMA_VERSION = 4
ANY_POSITIVE_LABEL = ">0"


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One id per example: a user, an item, a country.

    Args:
        name: name of the feature, which is the key in a model's input dict.
        num_ids: number of ids, padding (0) and unknown (1) included, so at least 3.
        fingerprint: `Vocabulary.fingerprint` of the ids, filled in by `make_schema`. Weights and
            vocabularies with another one are rejected; None disables the check.
    """

    kind: ClassVar[str] = "categorical"
    name: str
    num_ids: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name("Categorical", self.name)
        check_fingerprint(f"Categorical {self.name!r}", self.fingerprint)
        check_integer(f"Categorical {self.name!r}", "num_ids", self.num_ids, FIRST_ID + 1)
        if self.num_ids > 2**31 - 1:
            raise ValueError(
                f"Categorical {self.name!r}: num_ids must fit in int32; received {self.num_ids}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return ()

    @property
    def dtype(self) -> str:
        """Return the dtype of the model's input."""
        return "int32"


@dataclasses.dataclass(frozen=True)
class Bag:
    """Unordered ids per example, padded with 0: genres, tags.

    Args:
        name: name of the feature.
        num_ids: number of ids, padding and unknown included.
        max_length: width of the padded id matrix.
        fingerprint: see `Categorical`.
    """

    kind: ClassVar[str] = "bag"
    name: str
    num_ids: int
    max_length: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name("Bag", self.name)
        check_fingerprint(f"Bag {self.name!r}", self.fingerprint)
        check_integer(f"Bag {self.name!r}", "num_ids", self.num_ids, FIRST_ID + 1)
        check_integer(f"Bag {self.name!r}", "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)

    @property
    def dtype(self) -> str:
        """Return the dtype of the model's input."""
        return "int32"


@dataclasses.dataclass(frozen=True)
class Numeric:
    """Floats per example: an age, a price, a pretrained vector.

    Args:
        name: name of the feature.
        size: floats per example.
    """

    kind: ClassVar[str] = "numeric"
    name: str
    size: int = 1

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_name(kind, self.name)
        check_integer(f"{kind} {self.name!r}", "size", self.size, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single number."""
        return () if self.size == 1 else (self.size,)

    @property
    def dtype(self) -> str:
        """Return the dtype of the model's input."""
        return "float32"


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Ordered history of ids of another feature, newest last, padded with 0.

    `kerasrec.data` pads on the right. Models accept padding anywhere, and any width.

    Args:
        name: name of the feature.
        of: name of the categorical feature whose ids it holds (and whose table it shares).
        max_length: width of the padded id matrix.
    """

    kind: ClassVar[str] = "sequence"
    name: str
    of: str
    max_length: int

    def __post_init__(self) -> None:
        check_name("Sequence", self.name)
        check_name(f"Sequence {self.name!r}: of", self.of)
        check_integer(f"Sequence {self.name!r}", "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)

    @property
    def dtype(self) -> str:
        """Return the dtype of the model's input."""
        return "int32"


@dataclasses.dataclass(frozen=True)
class NumericSequence(Numeric):
    """Floats for each event of a history, such as ratings or days since the last event.

    The newest event comes last, aligned with the `Sequence` of the item id if there is one. NaN is
    padding, since 0 is a valid value. `kerasrec.data` pads on the right. Models accept padding
    anywhere, and any width. Next to a `Sequence`, its ids tell what is padding.

    Args:
        name: name of the feature.
        size: floats per event.
        of: name of the column whose earlier values it holds; need not be a feature.
        max_length: number of events.
    """

    kind: ClassVar[str] = "numeric_sequence"
    of: str = dataclasses.field(kw_only=True)
    max_length: int = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"NumericSequence {self.name!r}: of", self.of)
        check_integer(f"NumericSequence {self.name!r}", "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length, *super().shape)


Feature = Categorical | Bag | Numeric | Sequence

_KINDS: dict[str, type] = {
    cls.kind: cls for cls in (Categorical, Bag, Numeric, Sequence, NumericSequence)
}


@dataclasses.dataclass(frozen=True)
class Schema:
    """Features of a recommender by role.

    Args:
        user: features of the user; the first `Categorical` is the user id.
        item: features of the item; the first `Categorical` is the item id.
        context: context features (hour, device), part of the query like those of the user.
        label: name of the label column.
        positive: label condition of positives, such as `">0"` or `">=4"`. Other rows are not hits,
            are not learned as choices, and count as seen. Without a label, all rows are positives.

    Raises:
        ValueError: if a role holds anything but features, two features share a name, the user or
            item id is missing, a `Sequence` refers to no `Categorical` of the schema, or `positive`
            is malformed.

    Example:

    >>> schema = Schema(user=[Categorical("user_id", 945)], item=[Categorical("item_id", 1684)])
    >>> schema.item_id.num_ids
    1684
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    user: tuple[Feature, ...]
    item: tuple[Feature, ...]
    context: tuple[Feature, ...] = ()
    label: str = "label"
    positive: str = ANY_POSITIVE_LABEL

    def __post_init__(self) -> None:
        read_comparison(self.positive)
        for role in ("user", "item", "context"):
            features = getattr(self, role)
            if isinstance(features, str | bytes | Mapping) or not hasattr(features, "__iter__"):
                features = (features,)
            features = tuple(features)
            for feature in features:
                if not isinstance(feature, Feature):
                    raise ValueError(
                        f"Schema: {role} takes Categorical, Bag, Numeric, Sequence or "
                        f"NumericSequence features; "
                        f"received {feature!r} of type {type(feature).__name__}."
                    )
            object.__setattr__(self, role, features)
        check_name("Schema: label", self.label)
        names = [feature.name for feature in self.features] + [self.label]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                "Schema: every feature and the label need a unique name; received "
                f"{repeated} more than once. Rename one of them."
            )
        for role in ("user", "item"):
            if not any(isinstance(feature, Categorical) for feature in getattr(self, role)):
                raise ValueError(
                    f"Schema: {role} needs a Categorical feature for the {role} id; received "
                    f"{list(getattr(self, role))}."
                )
        for feature in self.features:
            if isinstance(feature, Sequence):
                target = next((f for f in self.features if f.name == feature.of), None)
                if not isinstance(target, Categorical):
                    raise ValueError(
                        f"Sequence {feature.name!r}: of={feature.of!r} must name a Categorical "
                        f"feature of the schema; it has "
                        f"{[f.name for f in self.features if isinstance(f, Categorical)]}."
                    )

    @property
    def user_id(self) -> Categorical:
        """Return the user id: the first categorical user feature."""
        return next(f for f in self.user if isinstance(f, Categorical))

    @property
    def item_id(self) -> Categorical:
        """Return the item id: the first categorical item feature."""
        return next(f for f in self.item if isinstance(f, Categorical))

    @property
    def query(self) -> tuple[Feature, ...]:
        """Return the features of the query: user and context features."""
        return self.user + self.context

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return all features: user, context, item."""
        return self.user + self.context + self.item

    def is_positive(self, labels: Any) -> Any:
        """Return whether labels are positive, as in training, evaluation and popularity.

        Args:
            labels: a number, or an array of numbers.

        Example:

        >>> Schema(Categorical("user", 4), Categorical("item", 6), positive=">=4").is_positive(3.5)
        False
        """
        return read_comparison(self.positive)(labels)

    def feature(self, name: str) -> Feature:
        """Return the feature with the given name.

        Raises:
            ValueError: if there is no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise ValueError(
            f"Schema has no feature {name!r}; it has {[f.name for f in self.features]}."
        )

    def id_space(self, name: str) -> str:
        """Return the name of the feature whose ids, table and vocabulary a feature uses.

        Raises:
            ValueError: if the feature is numeric or does not exist.
        """
        feature = self.feature(name)
        if isinstance(feature, Numeric):
            raise ValueError(f"Schema: feature {name!r} is numeric and has no ids.")
        return feature.of if isinstance(feature, Sequence) else name

    def num_ids(self, name: str) -> int:
        """Return the number of ids of a categorical, bag or sequence feature.

        Raises:
            ValueError: if the feature is numeric or does not exist.
        """
        feature = self.feature(self.id_space(name))
        if not isinstance(feature, Categorical | Bag):
            raise ValueError(f"Schema: feature {name!r} has no ids of its own.")
        return feature.num_ids

    @property
    def fingerprints(self) -> dict[str, str]:
        """Return the vocabulary fingerprint by feature, for the features that have one."""
        found = {f.name: getattr(f, "fingerprint", None) for f in self.features}
        return {name: value for name, value in found.items() if value is not None}

    def check_fingerprints(self, received: Mapping[str, str], *, owner: str) -> None:
        """Check that received fingerprints match those of the schema.

        Args:
            received: fingerprint by feature. Features without one on either side pass.
            owner: start of the error message: what the fingerprints belong to.

        Raises:
            ValueError: naming the features whose fingerprints differ.

        Example:

        >>> schema = Schema(Categorical("user", 4, fingerprint="ab"), Categorical("item", 5))
        >>> schema.check_fingerprints({"user": "ab", "item": "cd"}, owner="weights")
        """
        expected = self.fingerprints
        if wrong := [n for n, v in expected.items() if received.get(n, v) != v]:
            raise ValueError(
                f"{owner}: other vocabularies of {wrong} than the model was made with (fingerprint "
                f"{[received[n] for n in wrong]}, expected {[expected[n] for n in wrong]}): the "
                "same ids would stand for other things. Pass the vocabularies that encoded the "
                "training data of this model, saved beside it by save_vocabularies."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict that includes the format version."""

        def described(features: tuple[Feature, ...]) -> list[dict[str, Any]]:
            found = [{"kind": f.kind, **dataclasses.asdict(f)} for f in features]
            return [
                {k: v for k, v in config.items() if k != "fingerprint" or v is not None}
                for config in found
            ]

        return {
            "version": SCHEMA_VERSION,
            "user": described(self.user),
            "item": described(self.item),
            "context": described(self.context),
            "label": self.label,
            "positive": self.positive,
        }

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "Schema":
        """Create a schema from the result of `to_dict`.

        Raises:
            ValueError: if the dict comes from a newer version or is malformed.
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
        keys = ["user", "item", "context", "label"] + (["positive"] if version >= 4 else [])
        unknown = sorted(set(config) - {"version", *keys})
        missing = sorted(set(keys) - set(config))
        if unknown or missing:
            raise ValueError(
                f"Schema: expected version and {keys}; missing {missing}, unknown {unknown}."
            )
        return cls(
            user=tuple(_read_feature(f) for f in config["user"]),
            item=tuple(_read_feature(f) for f in config["item"]),
            context=tuple(_read_feature(f) for f in config["context"]),
            label=config["label"],
            positive=config.get("positive", ANY_POSITIVE_LABEL),
        )

    def to_json(self) -> str:
        """Return the schema as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Create a schema from the result of `to_json`.

        Raises:
            ValueError: if the text is not JSON or not a schema of this version.
        """
        try:
            config = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"Schema: expected JSON text; received {text[:80]!r} ({error})."
            ) from error
        return cls.from_dict(config)


def _read_feature(config: Mapping[str, Any]) -> Feature:
    values = dict(config) if isinstance(config, Mapping) else {}
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(
            f"Schema: a feature needs one of the kinds {sorted(_KINDS)}; received {config!r}."
        )
    fields = {field.name for field in dataclasses.fields(_KINDS[kind])}
    if unknown := sorted(set(values) - fields):
        raise ValueError(
            f"Schema: a {kind} feature has the keys {sorted(fields)}; unknown {unknown}."
        )
    try:
        feature: Feature = _KINDS[kind](**values)
    except TypeError as error:
        raise ValueError(
            f"Schema: a {kind} feature needs {sorted(fields)}; received {config!r}."
        ) from error
    return feature
