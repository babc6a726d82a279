"""Request handling shared by REST and gRPC: version lookup, execution, metrics and logging."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator

import numpy as np

from kerasrec.serving.server.errors import ServingError
from kerasrec.serving.server.metrics import Metrics
from kerasrec.serving.server.settings import Settings
from kerasrec.serving.server.signature import Signature
from kerasrec.serving.server.version_manager import Served, VersionManager
from kerasrec.types import Columns

LOG = logging.getLogger("kerasrec.serving.server")


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
        self, model_name: str, versions: VersionManager, settings: Settings, metrics: Metrics
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

    @contextlib.contextmanager
    def call(self, signature_name: str, *, version: int | None = None) -> Iterator["Call"]:
        """Yield a call of a signature, whose version stays loaded inside the block.

        Args:
            signature_name: name of the signature; "" for the default.
            version: version that must answer; None for the one that is served.

        Raises:
            ServingError: if there is no such version or signature.
        """
        with self.versions.use(version) as served:
            yield Call(served, served.loaded.signature(signature_name), self)

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


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a signature, open while its version is kept loaded.

    Attributes:
        served: the version that answers.
        signature: its signature, which the inputs must fit.
        inference: limits and metrics.
    """

    served: Served
    signature: Signature
    inference: Inference

    async def run(self, arrays: Columns, *, timeout: float | None = None) -> Answer:
        """Run the signature.

        Args:
            arrays: its inputs.
            timeout: seconds that the client waits.

        Raises:
            ServingError: if the inputs do not fit, or the run fails or takes too long.
        """
        settings = self.inference.settings
        rows = self.signature.check(arrays, settings.max_rows)
        limit = settings.timeout_seconds
        try:
            async with asyncio.timeout(limit if timeout is None else min(limit, timeout)):
                outputs = await self.served.batcher.run(self.signature, arrays, rows)
        except TimeoutError as error:
            raise ServingError("DEADLINE_EXCEEDED", "the request timed out.") from error
        if "score" in outputs:
            self.inference.metrics.scores(outputs["score"])
        return Answer(self.served.loaded.number, self.signature, rows, outputs)
