"""Command that serves an export."""

import importlib.util

import kerasrec
from kerasrec.cli.quiet import import_tensorflow


def serve(
    directory: str,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    rest_port: int = 8501,
    grpc_port: int = 8500,
    poll_seconds: float = 1.0,
    max_batch_rows: int = 64,
    batch_threads: int = 2,
    max_queued: int = 1000,
    max_rows: int = 1024,
    max_body_mib: float = 4.0,
    timeout_seconds: float = 30.0,
    grace_seconds: float = 10.0,
    token_file: str | None = None,
    certificate_file: str | None = None,
    key_file: str | None = None,
    titles_file: str | None = None,
    history_file: str | None = None,
    log_requests: bool = False,
) -> None:
    """Serve an export on this machine as TensorFlow Serving does, with a page at /.

    Args:
        directory: the folder of versions. The newest is served, and newer ones as they appear.
        name: name of the model in URLs; null for the name of the folder.
        host: address to listen on; 0.0.0.0 for all.
        rest_port: port of REST, the metrics and the page.
        grpc_port: port of gRPC.
        poll_seconds: time between two checks for a new version.
        max_batch_rows: largest number of rows in a batch.
        batch_threads: number of batches that run concurrently.
        max_queued: largest number of waiting requests; further ones are rejected at once.
        max_rows: largest number of rows of one request.
        max_body_mib: largest body of one request in MiB.
        timeout_seconds: timeout of a request.
        grace_seconds: time for requests to finish after SIGTERM.
        token_file: file of the bearer token that requests must send; null for no authentication.
        certificate_file: PEM file of the certificate chain, for TLS.
        key_file: PEM file of its private key.
        titles_file: CSV of item ids and titles, for the page.
        history_file: CSV of user ids and item ids, oldest first or with a column timestamp, for the
            page.
        log_requests: log every request, not only failures.

    Raises:
        ValueError: if nothing can be served, a port is taken, or the extra `serve` is missing.
    """
    import_tensorflow(told=False)  # stderr is the server's log
    for package in ("aiohttp", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f'kerasrec serve needs {package}: pip install "kerasrec[serve]"')
    settings = kerasrec.server.Settings(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        poll_seconds=poll_seconds,
        max_batch_rows=max_batch_rows,
        batch_threads=batch_threads,
        max_queued=max_queued,
        max_rows=max_rows,
        max_body_mib=max_body_mib,
        timeout_seconds=timeout_seconds,
        grace_seconds=grace_seconds,
        token_file=token_file,
        certificate_file=certificate_file,
        key_file=key_file,
        titles_file=titles_file,
        history_file=history_file,
        log_requests=log_requests,
    )
    kerasrec.server.serve(directory, name=name, settings=settings)
