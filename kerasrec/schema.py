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
class _Feature:
    """Base of the kinds of features, which answers what callers ask of any of them."""

    kind: ClassVar[str]  # its name in JSON
    dtype: ClassVar[str] = "int32"  # of the model's input
    has_ids: ClassVar[bool] = True  # or floats
    is_padded: ClassVar[bool] = False  # an example has several values, padded with 0, floats NaN
    is_history: ClassVar[bool] = False  # events in order, the newest last, in any width
    name: str

    def __post_init__(self) -> None:
        check_name(type(self).__name__, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single value."""
        return ()

    @property
    def _owner(self) -> str:
        return f"{type(self).__name__} {self.name!r}"


@dataclasses.dataclass(frozen=True)
class Categorical(_Feature):
    """One id per example: a user, an item, a country.

    Args:
        name: name of the feature, which is the key in a model's input dict.
        num_ids: number of ids, padding (0) and unknown (1) included, so at least 3.
        fingerprint: `Vocabulary.fingerprint` of the ids, filled in by `make_schema`. Weights and
            vocabularies with another one are rejected; None disables the check.
    """

    kind: ClassVar[str] = "categorical"
    num_ids: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fingerprint(self._owner, self.fingerprint)
        # Ids are int32.
        check_integer(self._owner, "num_ids", self.num_ids, FIRST_ID + 1, 2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Bag(_Feature):
    """Unordered ids per example, padded with 0: genres, tags.

    Args:
        name: name of the feature.
        num_ids: number of ids, padding and unknown included.
        max_length: width of the padded id matrix.
        fingerprint: see `Categorical`.
    """

    kind: ClassVar[str] = "bag"
    is_padded: ClassVar[bool] = True
    num_ids: int
    max_length: int
    fingerprint: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fingerprint(self._owner, self.fingerprint)
        check_integer(self._owner, "num_ids", self.num_ids, FIRST_ID + 1)
        check_integer(self._owner, "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)


@dataclasses.dataclass(frozen=True)
class Numeric(_Feature):
    """Floats per example: an age, a price, a pretrained vector.

    Args:
        name: name of the feature.
        size: floats per example.
    """

    kind: ClassVar[str] = "numeric"
    dtype: ClassVar[str] = "float32"
    has_ids: ClassVar[bool] = False
    size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self._owner, "size", self.size, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example: () for a single number."""
        return () if self.size == 1 else (self.size,)


@dataclasses.dataclass(frozen=True)
class IdSequence(_Feature):
    """Ordered history of ids of another feature, newest last, padded with 0.

    `kerasrec.data` pads on the right. Models accept padding anywhere, and any width.

    Args:
        name: name of the feature.
        of: name of the categorical feature whose ids it holds (and whose table it shares).
        max_length: width of the padded id matrix.
    """

    kind: ClassVar[str] = "sequence"
    is_padded: ClassVar[bool] = True
    is_history: ClassVar[bool] = True
    of: str
    max_length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"{self._owner}: of", self.of)
        check_integer(self._owner, "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length,)


@dataclasses.dataclass(frozen=True)
class NumericSequence(Numeric):
    """Floats for each event of a history, such as ratings or days since the last event.

    The newest event comes last, aligned with the `IdSequence` of the item id if there is one. NaN
    is padding, since 0 is a valid value. `kerasrec.data` pads on the right. Models accept padding
    anywhere, and any width. Next to an `IdSequence`, its ids show what is padding.

    Args:
        name: name of the feature.
        size: floats per event.
        of: name of the column whose earlier values it holds; need not be a feature.
        max_length: number of events.
    """

    kind: ClassVar[str] = "numeric_sequence"
    is_padded: ClassVar[bool] = True
    is_history: ClassVar[bool] = True
    of: str = dataclasses.field(kw_only=True)
    max_length: int = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(f"{self._owner}: of", self.of)
        check_integer(self._owner, "max_length", self.max_length, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one example."""
        return (self.max_length, *super().shape)


Feature = Categorical | Bag | Numeric | IdSequence

_KINDS: dict[str, type] = {
    cls.kind: cls for cls in (Categorical, Bag, Numeric, IdSequence, NumericSequence)
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
            item id is missing, an `IdSequence` refers to no `Categorical` of the schema, or
            `positive` is malformed.

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
                        f"Schema: {role} takes Categorical, Bag, Numeric, IdSequence or "
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
            if isinstance(feature, IdSequence):
                target = next((f for f in self.features if f.name == feature.of), None)
                if not isinstance(target, Categorical):
                    raise ValueError(
                        f"IdSequence {feature.name!r}: of={feature.of!r} must name a Categorical "
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

    @property
    def item_histories(self) -> tuple[IdSequence, ...]:
        """Return the histories of the item id on the query side."""
        return tuple(
            f for f in self.query if isinstance(f, IdSequence) and f.of == self.item_id.name
        )

    @property
    def number_histories(self) -> tuple[NumericSequence, ...]:
        """Return the histories of numbers on the query side."""
        return tuple(feature for feature in self.query if isinstance(feature, NumericSequence))

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
        if not feature.has_ids:
            raise ValueError(f"Schema: feature {name!r} is numeric and has no ids.")
        return feature.of if isinstance(feature, IdSequence) else name

    def num_ids(self, name: str) -> int:
        """Return the number of ids of a categorical, bag or sequence feature.

        Raises:
            ValueError: if the feature is numeric or does not exist.
        """
        feature: Any = self.feature(self.id_space(name))
        return int(feature.num_ids)

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
            return [{k: v for k, v in config.items() if v is not None} for config in found]

        return {
            "version": SCHEMA_VERSION,
            **{role: described(getattr(self, role)) for role in ("user", "item", "context")},
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
        user, item, context = (tuple(map(_read_feature, config[role])) for role in keys[:3])
        positive = config.get("positive", ANY_POSITIVE_LABEL)
        return cls(user, item, context, label=config["label"], positive=positive)

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
