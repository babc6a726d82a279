"""Settings of the server."""

import dataclasses
import pathlib

from kerasrec._checks import check_integer


@dataclasses.dataclass(frozen=True)
class Settings:
    """Addresses, limits and files of a server.

    Args:
        host: address to listen on.
        rest_port: port of REST, metrics and page; 0 for any free one.
        grpc_port: port of gRPC; 0 for any free one.
        poll_seconds: time between two checks for a new version.
        max_batch_rows: maximum number of rows per batch.
        batch_threads: number of batches that run concurrently.
        max_queued: maximum number of waiting requests; more are rejected at once.
        max_rows: maximum number of rows per request.
        max_body_mib: maximum size of a request body.
        timeout_seconds: timeout of a request, unless its client sets a shorter one.
        grace_seconds: time for requests to finish after SIGTERM.
        token_file: file of the bearer token that requests must send; None for no authentication.
        certificate_file: PEM file of the certificate chain, for TLS.
        key_file: PEM file of its private key.
        titles_file: CSV of item ids and titles, for the page.
        history_file: CSV of user ids and item ids, oldest first or with a column timestamp, for the
            page.
        log_requests: whether to log every request, not only failures.

    Raises:
        ValueError: if a value is out of its range, or a file is missing.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    poll_seconds: float = 1.0
    max_batch_rows: int = 64
    batch_threads: int = 2
    max_queued: int = 1000
    max_rows: int = 1024
    max_body_mib: float = 4.0
    timeout_seconds: float = 30.0
    grace_seconds: float = 10.0
    token_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    titles_file: str | None = None
    history_file: str | None = None
    log_requests: bool = False

    def __post_init__(self) -> None:
        for name in ("rest_port", "grpc_port"):
            if getattr(self, name) != 0:
                check_integer(self, name, getattr(self, name), 1, 65535)
        positive = ("poll_seconds", "max_batch_rows", "batch_threads", "max_queued", "max_rows")
        for name in (*positive, "max_body_mib", "timeout_seconds", "grace_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; received {getattr(self, name)!r}.")
        for field in dataclasses.fields(self):
            path = getattr(self, field.name)
            if (
                field.name.endswith("_file")
                and path is not None
                and not pathlib.Path(path).is_file()
            ):
                raise ValueError(f"{field.name}: there is no file {path!r}.")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("TLS needs both certificate_file and key_file; received one of them.")
        if self.token_file is not None and not self.token():
            raise ValueError(f"token_file: {self.token_file!r} is empty. Write a token into it.")

    def token(self) -> str | None:
        """Return the bearer token, if there is one."""
        if self.token_file is None:
            return None
        return pathlib.Path(self.token_file).read_text(encoding="utf-8").strip()
