"""Server lifecycle, from start to graceful shutdown."""

import asyncio
import contextlib
import gc
import logging
import os
import pathlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from kerasrec.server import grpc_service, page, rest
from kerasrec.server.batching import Batcher
from kerasrec.server.inference import Inference
from kerasrec.server.loaded import LoadedVersion
from kerasrec.server.logs import log_to_stderr
from kerasrec.server.metrics import Metrics
from kerasrec.server.settings import Settings
from kerasrec.server.watching import Versions
from kerasrec.serving.commands import served_base, served_name
from kerasrec.serving.versions import StrPath

LOG = logging.getLogger("kerasrec.server")


def serve(directory: StrPath, *, name: str | None = None, settings: Settings | None = None) -> None:
    """Serve the newest version of a directory by REST and gRPC, until SIGTERM or SIGINT.

    Requests in flight are answered before shutdown, within `grace_seconds`.

    Args:
        directory: the folder that holds the versions.
        name: name of the served model; that of the folder if None.
        settings: addresses, limits and files.

    Raises:
        ValueError: if there is no version that loads, or a port is taken.
    """
    base = served_base(directory)
    name = served_name(base, name)
    log_to_stderr()
    asyncio.run(_serve(base, name, settings or Settings()))


async def _serve(base: pathlib.Path, name: str, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(base, name, settings):
        await stop.wait()
        LOG.info("stopping")
    LOG.info("stopped")


@contextlib.asynccontextmanager
async def running(
    base: pathlib.Path, name: str, settings: Settings
) -> AsyncIterator[tuple[int, int]]:
    """Run a server inside the block and yield its REST and gRPC ports.

    Args:
        base: the folder that holds the versions.
        name: name of the served model.
        settings: addresses, limits and files.

    Raises:
        ValueError: if there is no version that loads, or a port is taken.
    """
    check_ports(settings)
    # Objects alive now stay alive, so garbage collection of old versions can skip them.
    gc.collect()
    gc.freeze()
    metrics = Metrics(name)
    with (
        ThreadPoolExecutor(settings.batch_threads, "batch") as batches,
        ThreadPoolExecutor(1, "load") as loads,
    ):

        def make_batcher(loaded: LoadedVersion) -> Batcher:
            return Batcher(
                loaded,
                batches,
                threads=settings.batch_threads,
                max_rows=settings.max_batch_rows,
                max_queued=settings.max_queued,
                observe=metrics.batch,
            )

        versions = Versions(base, loads, make_batcher)
        await versions.refresh()
        if versions.current is None:
            errors = "; ".join(error for _, error in versions.states.values())
            raise ValueError(f"no version of {str(base)!r} can be served: {errors}")
        inference = Inference(name, versions, settings, metrics)
        app = rest.application(inference)
        page.add_routes(app, inference)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.grace_seconds)
        server, grpc_port = grpc_service.make_server(inference)
        watch = asyncio.ensure_future(versions.follow(settings.poll_seconds))
        try:
            await runner.setup()
            site = web.TCPSite(
                runner, settings.host, settings.rest_port, ssl_context=_tls(settings), backlog=1024
            )
            try:
                await site.start()
            except OSError as error:
                raise ValueError(
                    f"rest_port: cannot listen on {settings.host}:{settings.rest_port}: {error}"
                ) from error
            await server.start()
            rest_port = runner.addresses[0][1]
            ports = {"rest_port": rest_port, "grpc_port": grpc_port}
            url = page_url(settings, rest_port)
            LOG.info("ready", extra={"url": url, "model": name, "pid": os.getpid(), **ports})
            yield rest_port, grpc_port
        finally:
            watch.cancel()
            # Neither accepts new requests. Both wait for those in flight.
            await asyncio.gather(server.stop(settings.grace_seconds), runner.cleanup())
            await versions.close()


def check_ports(settings: Settings) -> None:
    """Check that the ports are free, before time is spent on loading a model.

    Args:
        settings: addresses of the server.

    Raises:
        ValueError: if a port is taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    for name in ("rest_port", "grpc_port"):
        port = getattr(settings, name)
        if not port:
            continue
        try:
            socket.create_server((settings.host, port), family=family).close()
        except OSError as error:
            raise ValueError(
                f"{name}: cannot listen on {settings.host}:{port}: {error}. Stop the process "
                f"that listens there, or pass another {name}."
            ) from error


def page_url(settings: Settings, rest_port: int) -> str:
    """Return the URL of the page for a browser on this machine.

    >>> page_url(Settings(host="0.0.0.0"), 8501)
    'http://127.0.0.1:8501/'
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "http" if settings.certificate_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{rest_port}/"


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"certificate_file and key_file do not match: {error}") from error
    return context
