"""Write the sidecar files of an exported version: warm-up, REST examples, model card, checksums."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from kerasrec.serving.artifact import (
    checksums,
    frequent_values,
    model_card,
    recorded_requests,
    warmup,
)
from kerasrec.serving.artifact.signature_defs import CLASSIFY, REGRESS, signature_defs
from kerasrec.serving.json_tensors import example_to_json, to_json
from kerasrec.serving.spec import ExportSpec

SCHEMA_FILE = "schema.json"
REQUESTS_FOLDER = "requests"
# Number of rows in an example for readers.
ROWS = 2


def write(
    folder: pathlib.Path,
    spec: ExportSpec,
    recorded: Mapping[str, Any],
    *,
    name: str,
    card: Mapping[str, Any] | None,
) -> None:
    """Fill the folder of a version whose graph is already written. Checksums come last.

    Args:
        folder: the version.
        spec: specification of the export.
        recorded: result of `reference.record`.
        name: name of the served model.
        card: see `model_card.check_card`.
    """
    (folder / SCHEMA_FILE).write_text(spec.schema.to_json(), encoding="utf-8")
    recorded_requests.write(recorded, folder)
    if not spec.has_items:
        frequent_values.write(spec, folder)
    warmup.write(recorded, folder, name=name)
    definitions = signature_defs(folder)
    requests = folder / REQUESTS_FOLDER
    requests.mkdir()
    for signature, body in rest_requests(recorded, definitions).items():
        text = json.dumps(body, ensure_ascii=False, indent=1)
        (requests / f"{signature}.json").write_text(text + "\n", encoding="utf-8")
    text = model_card.render(spec, signatures=definitions, card=card)
    (folder / model_card.FILE_NAME).write_text(text, encoding="utf-8")
    checksums.write(folder)


def rest_requests(
    recorded: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return a REST request body by signature, for `:predict`, `:classify` or `:regress`.

    Args:
        recorded: result of `reference.record`.
        definitions: `SignatureDef` by name.
    """
    bodies: dict[str, dict[str, Any]] = {}
    for request in recorded["requests"]:
        signature = request["signature"]
        if signature in bodies or signature not in definitions:
            continue
        definition = definitions[signature]
        arrays = {k: v[:ROWS] for k, v in warmup.request_arrays(request, definition).items()}
        body: dict[str, Any] = {"signature_name": signature}
        if definition.method_name in (CLASSIFY, REGRESS):
            (serialized,) = arrays.values()
            body["examples"] = [example_to_json(e) for e in warmup.parse_examples(serialized)]
        else:
            body["inputs"] = {key: to_json(array, key) for key, array in arrays.items()}
        bodies[signature] = body
    return bodies
