"""File of the most frequent known values of a table's columns, which the server's page offers."""

import json
import pathlib

import numpy as np

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.serving.spec import ExportSpec

FILE_NAME = "assets.extra/frequent_values.json"
# Number of values of a column, and the longest that a person would choose from a list.
VALUES = 50
LONGEST = 200


def write(spec: ExportSpec, folder: pathlib.Path) -> None:
    """Write the values of each feature with ids into the folder of a version, as text.

    Args:
        spec: specification of the export.
        folder: the version.
    """
    found = {}
    for feature in spec.requested(spec.schema.features):
        if not feature.has_ids:
            continue
        if feature in spec.schema.features:
            vocabulary = spec.vocabularies[spec.schema.id_space(feature.name)]
        else:
            vocabulary = spec.tables[feature.name].keys
        if isinstance(vocabulary, Vocabulary):  # the values of buckets are numbers
            order = np.argsort(-vocabulary.counts, kind="stable")[:VALUES]
            values = map(str, vocabulary.ids[order].tolist())
            found[feature.name] = [value for value in values if len(value) <= LONGEST]
    path = folder / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def read(folder: pathlib.Path) -> dict[str, list[str]]:
    """Read the values by feature from the folder of a version; empty if it has no such file."""
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return found
