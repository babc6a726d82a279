"""Names, kinds, sizes and roles of the features of a model."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kerasrec._checks import check_name, read_comparison
from kerasrec.schema._json import SCHEMA_VERSION, describe, parse, read_fields, version_of
from kerasrec.schema.features import (
    KINDS,
    Bag,
    BagWeights,
    Categorical,
    Feature,
    IdSequence,
    NumericSequence,
)

ANY_POSITIVE_LABEL = ">0"
"""Rule for positives of a schema that sets none."""


@dataclasses.dataclass(frozen=True)
class Schema:
    """Features of a recommender by role.

    Args:
        user: features of the user; the first `Categorical` is the user id. Empty for a table
            without users.
        item: features of the item; the first `Categorical` is the item id. Empty for a table
            without items.
        context: context features (hour, device), part of the query like those of the user.
        label: name of the label column.
        positive: label condition of positives, such as `">0"` or `">=4"`. Other rows are not hits,
            are not learned as choices, and count as seen. Without a label, all rows are positives.
        time: name of the column that orders the rows; None where there is none.
        other_labels: names of further label columns, carried with the encoded rows. Models of one
            label learn `label`.

    Raises:
        ValueError: if a role holds anything but features, two features share a name, there is no
            feature at all, the user or item side has features but no id, an `IdSequence` refers to
            no `Categorical` of the schema, `BagWeights` to no `Bag` of their role and size, or
            `positive` is malformed.

    Example:

    >>> schema = Schema(user=[Categorical("user_id", 945)], item=[Categorical("item_id", 1684)])
    >>> schema.item_id.num_ids
    1684
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    user: tuple[Feature, ...] = ()
    item: tuple[Feature, ...] = ()
    context: tuple[Feature, ...] = ()
    label: str = "label"
    positive: str = ANY_POSITIVE_LABEL
    time: str | None = None
    other_labels: tuple[str, ...] = ()

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
        if isinstance(self.other_labels, str):
            raise ValueError(
                f"Schema: other_labels takes several names; received {self.other_labels!r}. Write "
                f"other_labels=({self.other_labels!r},)."
            )
        object.__setattr__(self, "other_labels", tuple(self.other_labels))
        for name in self.other_labels:
            check_name("Schema: other_labels", name)
        labels = [self.label, *self.other_labels]
        names = [feature.name for feature in self.features] + labels
        if self.time is not None:
            check_name("Schema: time", self.time)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated or self.time in labels:
            raise ValueError(
                "Schema: every feature and the label need a unique name, and the time another name "
                f"than the label; received {repeated or [self.time]} more than once. Rename one "
                "of them."
            )
        if not self.features:
            raise ValueError("Schema: expected at least one feature; received none.")
        for role in ("user", "item"):
            features = getattr(self, role)
            if features and not any(isinstance(feature, Categorical) for feature in features):
                raise ValueError(
                    f"Schema: {role} needs a Categorical feature for the {role} id; received "
                    f"{list(features)}."
                )
            if features and self._id(role).missing:
                raise ValueError(
                    f"Schema: {self._id(role).name!r} is the {role} id, which no row may lack; "
                    "received missing=True. Leave it out."
                )
        for role in ("user", "item", "context"):
            _check_bag_weights(role, getattr(self, role))
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
        return self._id("user")

    @property
    def item_id(self) -> Categorical:
        """Return the item id: the first categorical item feature."""
        return self._id("item")

    def _id(self, role: str) -> Categorical:
        for feature in getattr(self, role):
            if isinstance(feature, Categorical):
                return feature
        raise ValueError(
            f"Schema has no {role} id, which this needs; it has the features "
            f"{[f.name for f in self.features]}. Add Categorical({role + '_id'!r}, num_ids) to its "
            f"{role} features."
        )

    @property
    def query(self) -> tuple[Feature, ...]:
        """Return the features of the query: user and context features."""
        return self.user + self.context

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return all features: user, context, item."""
        return self.user + self.context + self.item

    @property
    def fields(self) -> tuple[Feature, ...]:
        """Return the features without weights of bags, which models read with their bag."""
        return tuple(feature for feature in self.features if not isinstance(feature, BagWeights))

    def weights_of(self, name: str) -> str | None:
        """Return the name of the weights of a bag, None for a feature without."""
        found = (f.name for f in self.features if isinstance(f, BagWeights) and f.of == name)
        return next(found, None)

    @property
    def item_histories(self) -> tuple[IdSequence, ...]:
        """Return the histories of the item id on the query side."""
        if not self.item:
            return ()
        return tuple(
            f for f in self.query if isinstance(f, IdSequence) and f.of == self.item_id.name
        )

    @property
    def item_history(self) -> IdSequence | None:
        """Return the first history of the item id on the query side, None without one."""
        return next(iter(self.item_histories), None)

    @property
    def number_histories(self) -> tuple[NumericSequence, ...]:
        """Return the histories of numbers on the query side."""
        return tuple(feature for feature in self.query if isinstance(feature, NumericSequence))

    def only(self, names: Iterable[str] = ()) -> "Schema":
        """Return the schema of the user id, the item id and some other features.

        Args:
            names: names of the other features. A sequence needs the feature whose ids it holds.

        Raises:
            ValueError: if there is no such feature.

        Example:

        >>> from kerasrec.schema import Numeric
        >>> schema = Schema(Categorical("user", 4), [Categorical("item", 6), Numeric("price")])
        >>> [feature.name for feature in schema.only().features]
        ['user', 'item']
        """
        kept = {self.feature(name).name for name in names}
        kept |= {self._id(role).name for role in ("user", "item") if getattr(self, role)}
        roles: Any = {
            role: tuple(f for f in getattr(self, role) if f.name in kept)
            for role in ("user", "item", "context")
        }
        return dataclasses.replace(self, **roles)

    def with_features(
        self,
        *,
        user: Iterable[Feature] = (),
        item: Iterable[Feature] = (),
        context: Iterable[Feature] = (),
    ) -> "Schema":
        """Return the schema with more features at the end of a role.

        Args:
            user: more features of the user.
            item: more features of the item.
            context: more features of the context.

        Raises:
            ValueError: as for the constructor.

        Example:

        >>> from kerasrec.schema import Numeric
        >>> schema = Schema(Categorical("user", 4), Categorical("item", 6))
        >>> [feature.name for feature in schema.with_features(item=[Numeric("price")]).item]
        ['item', 'price']
        """
        return dataclasses.replace(
            self,
            user=(*self.user, *user),
            item=(*self.item, *item),
            context=(*self.context, *context),
        )

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
        roles = {role: describe(getattr(self, role)) for role in ("user", "item", "context")}
        features = [config for found in roles.values() for config in found]
        others = {"other_labels": list(self.other_labels)} if self.other_labels else {}
        return {
            "version": SCHEMA_VERSION if others else version_of(features),
            **roles,
            "label": self.label,
            "positive": self.positive,
            "time": self.time,
            **others,
        }

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "Schema":
        """Create a schema from the result of `to_dict`.

        Raises:
            ValueError: if the dict comes from a newer version or is malformed.
        """
        return cls(**read_fields(config, KINDS))

    def to_json(self) -> str:
        """Return the schema as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Create a schema from the result of `to_json`.

        Raises:
            ValueError: if the text is not JSON or not a schema of this version.
        """
        return cls.from_dict(parse(text))


def _check_bag_weights(role: str, features: tuple[Feature, ...]) -> None:
    """Check that weights belong to a bag of the role, each bag to one of them."""
    bags = {feature.name: feature for feature in features if type(feature) is Bag}
    weights = [feature for feature in features if isinstance(feature, BagWeights)]
    for feature in weights:
        bag = bags.get(feature.of)
        if bag is None or bag.max_length != feature.size:
            found = {name: one.max_length for name, one in bags.items()}
            raise ValueError(
                f"BagWeights {feature.name!r}: of={feature.of!r} must name a Bag among the {role} "
                f"features that holds up to {feature.size} ids, one for each weight; it has "
                f"{found or 'no bags'}. Each row needs as many weights as ids."
            )
        if sum(other.of == feature.of for other in weights) > 1:
            raise ValueError(
                f"BagWeights {feature.name!r}: the bag {feature.of!r} has other weights too. Leave "
                "one of them out."
            )
