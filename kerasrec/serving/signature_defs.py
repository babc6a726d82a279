"""Signatures of a SavedModel, read from its file without loading it."""

import pathlib
from typing import Any

from google.protobuf.message import DecodeError

from kerasrec._keras import saved_model_message

GRAPH_FILE = "saved_model.pb"
TAG = "serve"
PREDICT, CLASSIFY, REGRESS = (
    f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")
)
# Entries that TensorFlow keeps among the signatures for its own use.
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")


def signature_defs(folder: pathlib.Path) -> dict[str, Any]:
    """Return `SignatureDef` by name from the graph with the tag `serve`.

    Args:
        folder: a version.

    Raises:
        ValueError: if the file is missing, damaged or has no graph with that tag.
    """
    path = folder / GRAPH_FILE
    try:
        saved = saved_model_message(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ValueError(
            f"{str(path)!r} is not readable as a SavedModel: {error}. Export the model again."
        ) from error
    for meta in saved.meta_graphs:
        if set(meta.meta_info_def.tags) == {TAG}:
            return {n: d for n, d in sorted(meta.signature_def.items()) if n not in _INTERNAL}
    tags = [sorted(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    raise ValueError(f"{str(path)!r} has no graph with the tag {TAG!r}; it has the tags {tags}.")
