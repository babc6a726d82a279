"""Schema of a model's inputs: names, kinds, sizes and roles of the features.

Only the standard library is imported here, so that a schema can be read anywhere.
"""

from kerasrec.schema._json import SCHEMA_VERSION
from kerasrec.schema._schema import ANY_POSITIVE_LABEL, Schema
from kerasrec.schema.features import (
    FIRST_ID,
    PADDING_ID,
    UNKNOWN_ID,
    Bag,
    BagWeights,
    Categorical,
    Date,
    Feature,
    Hashed,
    IdSequence,
    Numeric,
    NumericSequence,
)

__all__ = [
    "ANY_POSITIVE_LABEL",
    "FIRST_ID",
    "PADDING_ID",
    "SCHEMA_VERSION",
    "UNKNOWN_ID",
    "Bag",
    "BagWeights",
    "Categorical",
    "Date",
    "Feature",
    "Hashed",
    "IdSequence",
    "Numeric",
    "NumericSequence",
    "Schema",
]
