"""Request handling shared by REST and gRPC: version lookup, execution, metrics and logging."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator

import numpy as np

from kerasrec.server.errors import ServingError, invalid
from kerasrec.server.metrics import Metrics
from kerasrec.server.settings import Settings
from kerasrec.server.signature import Signature
from kerasrec.server.watching import Versions
from kerasrec.types import Columns

LOG = logging.getLogger("kerasrec.server")


@dataclasses.dataclass(frozen=True)
class Answer:
    """Result of a signature call.

    Attributes:
        version: the version that answered.
        signature: the signature.
        rows: number of rows of the request.
        outputs: its outputs by name.
    """

    version: int
    signature: Signature
    rows: int
    outputs: dict[str, np.ndarray]


class Inference:
    """Run requests on the served version.

    Args:
        model_name: name of the model.
        versions: the loaded versions.
        settings: limits of the server.
        metrics: metrics to update.
    """

    def __init__(
        self, model_name: str, versions: Versions, settings: Settings, metrics: Metrics
    ) -> None:
        self.model_name = model_name
        self.versions = versions
        self.settings = settings
        self.metrics = metrics

    def check_model(self, name: str) -> None:
        """Check the model name of a request.

        Raises:
            ServingError: NOT_FOUND, for any other name.
        """
        if name != self.model_name:
            raise ServingError(
                "NOT_FOUND",
                f"Servable not found for request: Latest({name}); {self.model_name!r} is served.",
            )

    async def run(
        self,
        signature_name: str,
        make_arrays: Callable[[Signature], Columns],
        *,
        version: int | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Run a signature.

        Args:
            signature_name: its name, "" for the default.
            make_arrays: returns the inputs for a signature.
            version: the version that must answer; None for the one that is served.
            timeout: seconds that the client waits.

        Raises:
            ServingError: if the request is rejected, fails or times out.
        """
        limit = self.settings.timeout_seconds
        with self.versions.use(version) as served:
            signature = served.loaded.signature(signature_name)
            try:
                arrays = make_arrays(signature)
            except (ValueError, OverflowError, RecursionError) as error:
                raise invalid(error) from error
            rows = signature.check(arrays, self.settings.max_rows)
            try:
                async with asyncio.timeout(limit if timeout is None else min(limit, timeout)):
                    outputs = await served.batcher.run(signature, arrays, rows)
            except TimeoutError as error:
                raise ServingError("DEADLINE_EXCEEDED", "the request timed out.") from error
            if "score" in outputs:
                self.metrics.scores(outputs["score"])
            return Answer(served.loaded.number, signature, rows, outputs)

    @contextlib.contextmanager
    def observed(self, api: str, entrypoint: str) -> Iterator[None]:
        """Count and log the request that runs inside the block."""
        started = time.perf_counter()
        code, message = "OK", ""
        try:
            yield
        except ServingError as error:
            code, message = error.code, error.message
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:
            code, message = "INTERNAL", f"{type(error).__name__}: {error}"
            LOG.exception("request failed")
            raise ServingError("INTERNAL", message) from error
        finally:
            seconds = time.perf_counter() - started
            self.metrics.request(api, entrypoint, code, seconds)
            if code != "OK" or self.settings.log_requests:
                level = logging.INFO if code == "OK" else logging.WARNING
                extra = {"api": api, "entrypoint": entrypoint, "status": code}
                LOG.log(
                    level,
                    "request",
                    extra={**extra, "ms": round(seconds * 1e3, 2), "error": message[:300]},
                )
