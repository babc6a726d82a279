"""States of versions for `ModelService.GetModelStatus`."""

from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from kerasrec.server.errors import ServingError
from kerasrec.server.watching import Versions

_STATE = get_model_status_pb2.ModelVersionStatus.State


def model_status(versions: Versions, number: int | None) -> Any:
    """Return a `GetModelStatusResponse`, newest version first.

    Args:
        versions: the loaded versions.
        number: one version; None for all known versions.

    Raises:
        ServingError: NOT_FOUND, if there is none.
    """
    found = [n for n in sorted(versions.states, reverse=True) if number in (None, n)]
    if not found:
        raise ServingError("NOT_FOUND", f"Could not find version {number} of the model.")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in found:
        state, error = versions.states[version]
        entry = response.model_version_status.add(version=version, state=_STATE.Value(state))
        entry.status.error_code = 2 if error else 0
        entry.status.error_message = error
    return response
