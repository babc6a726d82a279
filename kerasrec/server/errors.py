"""Errors of requests, named as in gRPC and TensorFlow, with their HTTP status."""

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
