"""Logging to stderr: readable lines on a terminal, JSON lines elsewhere."""

import json
import logging
import sys
from typing import Any

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formatter that writes one JSON object per record, including its `extra` fields.

    >>> record = logging.makeLogRecord({"msg": "served", "levelname": "INFO", "version": 3})
    >>> record.created = 0.0
    >>> JsonFormatter().format(record)
    '{"time": "1970-01-01T00:00:00.000Z", "level": "INFO", "event": "served", "version": 3}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted line."""
        import datetime

        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class TextFormatter(logging.Formatter):
    """Formatter that writes one line per record, with its `extra` fields after the event.

    >>> record = logging.makeLogRecord({"msg": "ready", "levelname": "INFO", "url": "http://x/"})
    >>> TextFormatter().format(record)[9:]
    'INFO     ready  url=http://x/'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted line."""
        extra = "".join(f"  {key}={value}" for key, value in _extra(record).items() if value != "")
        time = self.formatTime(record, "%H:%M:%S")
        text = f"{time} {record.levelname:8} {record.getMessage()}{extra}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def log_to_stderr() -> None:
    """Log the server's records to stderr and silence TensorFlow's advice."""
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if sys.stderr.isatty() else JsonFormatter())
    logger = logging.getLogger("kerasrec.server")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
