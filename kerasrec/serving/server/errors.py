"""Errors of requests, named as in gRPC and TensorFlow, with their HTTP status."""

import contextlib
from collections.abc import Iterator

HTTP_STATUS = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ServingError(Exception):
    """Error of a request that is rejected or fails.

    Args:
        code: name of the status, a key of `HTTP_STATUS`.
        message: description of the error.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: object) -> ServingError:
    """Return the error for an invalid request."""
    return ServingError("INVALID_ARGUMENT", str(message))


@contextlib.contextmanager
def invalid_input() -> Iterator[None]:
    """Turn errors of malformed values inside the block into INVALID_ARGUMENT."""
    try:
        yield
    except (ValueError, OverflowError, RecursionError) as error:
        raise invalid(error) from error
