"""What a server can be told."""

import dataclasses
import pathlib

from kerasrec._checks import check_integer


@dataclasses.dataclass(frozen=True)
class Settings:
    """Addresses, limits and files of a server.

    Args:
        host: address to listen on.
        rest_port: port of REST, the metrics and the page; 0 for any free one.
        grpc_port: port of gRPC; 0 for any free one.
        poll_seconds: time between two looks for a new version.
        max_batch_rows: rows that run together at most.
        batch_threads: batches that run at the same time.
        max_queued: requests that wait at most; more are refused at once.
        max_rows: rows of one request.
        max_body_mib: size of the body of one request.
        timeout_seconds: time until a request is given up, unless its client gives up earlier.
        grace_seconds: time that requests have to finish after SIGTERM.
        token_file: file of the bearer token that requests must bring; None to let all in.
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
        """The bearer token, if there is one."""
        if self.token_file is None:
            return None
        return pathlib.Path(self.token_file).read_text(encoding="utf-8").strip()
