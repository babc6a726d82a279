"""Version manager: polls a directory, swaps in new versions and unloads old ones.

A new version is loaded and warmed up next to the old one, then takes over in one assignment.
Requests in flight finish on the version they began with, which is unloaded after the last of them.
"""

import asyncio
import contextlib
import gc
import logging
import pathlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from kerasrec.server.batching import Batcher
from kerasrec.server.errors import ServingError
from kerasrec.server.loaded import LoadedVersion
from kerasrec.serving.versions import list_versions

LOG = logging.getLogger("kerasrec.server")
# Delay before a version that failed to load is tried again.
RETRY_SECONDS = 60.0
# Number of unloaded versions that are remembered.
REMEMBERED = 20


class Served:
    """A version that serves, or has served, requests.

    Attributes:
        loaded: the version.
        batcher: runs its requests.
        users: number of requests in flight.
    """

    def __init__(self, loaded: LoadedVersion, batcher: Batcher) -> None:
        self.loaded = loaded
        self.batcher = batcher
        self.users = 0


class Versions:
    """Follow the newest version of a directory.

    Args:
        base: the folder that holds the versions.
        executor: executor that loads versions.
        make_batcher: returns the batcher of a version.
    """

    def __init__(
        self,
        base: pathlib.Path,
        executor: Executor,
        make_batcher: Callable[[LoadedVersion], Batcher],
    ) -> None:
        self._base = base
        self._executor = executor
        self._make_batcher = make_batcher
        self._failed: dict[int, float] = {}
        self.current: Served | None = None
        self.states: dict[int, tuple[str, str]] = {}
        """State and error of every version that was seen, as `ModelService` names them."""

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[Served]:
        """Yield the version that serves a request and keep it loaded meanwhile.

        Args:
            number: the requested version; None for any.

        Raises:
            ServingError: UNAVAILABLE while no version is loaded, NOT_FOUND if another one is
                served.
        """
        served = self.current
        if served is None:
            raise ServingError("UNAVAILABLE", f"no version of {str(self._base)!r} is loaded.")
        if number is not None and number != served.loaded.number:
            raise ServingError(
                "NOT_FOUND",
                f"Servable not found for request: version {number}; version "
                f"{served.loaded.number} is served.",
            )
        served.users += 1
        try:
            yield served
        finally:
            served.users -= 1
            if not served.users and served is not self.current:
                self._unload(served)

    async def refresh(self) -> None:
        """Check the directory once."""
        loop = asyncio.get_running_loop()
        numbers = await loop.run_in_executor(self._executor, list_versions, self._base)
        for number in reversed(numbers):
            if self.current is not None and number == self.current.loaded.number:
                return
            if time.monotonic() < self._failed.get(number, 0.0):
                continue
            if await self._load(number):
                return

    async def follow(self, seconds: float) -> None:
        """Check the directory periodically."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except OSError as error:
                LOG.warning("the directory cannot be read", extra={"error": str(error)})

    async def close(self) -> None:
        """Unload the served version."""
        served, self.current = self.current, None
        if served is not None and not served.users:
            self._unload(served)

    async def _load(self, number: int) -> bool:
        ended = [n for n, (state, _) in self.states.items() if state == "END" and n != number]
        for old_number in sorted(ended)[:-REMEMBERED]:
            del self.states[old_number]
        self.states[number] = ("LOADING", "")
        started = time.perf_counter()
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._executor, LoadedVersion, _folder(self._base, number)
            )
        except (ValueError, OSError) as error:
            self._failed[number] = time.monotonic() + RETRY_SECONDS
            self.states[number] = ("END", str(error))
            LOG.error("version does not load", extra={"version": number, "error": str(error)})
            return False
        old, self.current = self.current, Served(loaded, self._make_batcher(loaded))
        self.states[number] = ("AVAILABLE", "")
        LOG.info(
            "version is served",
            extra={
                "version": number,
                "signatures": list(loaded.signatures),
                "warmed_up": loaded.warmed_up,
                "seconds": round(time.perf_counter() - started, 3),
            },
        )
        if old is not None:
            self.states[old.loaded.number] = ("UNLOADING", "")
            if not old.users:
                self._unload(old)
        return True

    def _unload(self, served: Served) -> None:
        number = served.loaded.number
        self.states[number] = ("END", "")
        LOG.info("version is unloaded", extra={"version": number})
        self._executor.submit(_free, served.loaded)


def _folder(base: pathlib.Path, number: int) -> pathlib.Path:
    """Return the folder of a version, however its number is written."""
    path = base / str(number)
    if path.is_dir():
        return path
    names: Any = (p for p in base.iterdir() if p.name.isdecimal() and int(p.name) == number)
    return next(names, path)


def _free(loaded: LoadedVersion) -> None:
    loaded.close()
    del loaded
    # Graphs refer to themselves. Without collection, memory would grow with each swap.
    gc.collect()
