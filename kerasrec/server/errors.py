"""Errors of requests, by the names of gRPC and of TensorFlow, with their HTTP status."""

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
    """A request that is refused or fails.

    Args:
        code: name of the status, a key of `HTTP_STATUS`.
        message: what is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: object) -> ServingError:
    """The error of a request that is at fault itself."""
    return ServingError("INVALID_ARGUMENT", str(message))
