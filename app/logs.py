"""Sends every log line, loguru's and the standard library's, to stdout.

On Lambda a line is one flat JSON object, which CloudWatch Logs Insights queries by field; elsewhere
it is for the eye.
"""

import json
import logging
import os
import sys
import traceback
from datetime import UTC
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")

_READABLE = (
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> | <level>{level: <8}</level> | "
    "{extra[correlation_id]} - <level>{message}</level>"
)

# Made once: json.dumps would make one for every line.
_ENCODER = json.JSONEncoder(default=str)


def configure_logging() -> None:
    """Replaces every log handler there is by one that writes to stdout.

    The environment variable LOG_LEVEL (INFO) sets the level.

    Raises:
        ValueError: LOG_LEVEL is none of `LEVELS`.
    """
    level = (os.environ.get("LOG_LEVEL") or "INFO").upper()
    if level not in LEVELS:
        raise ValueError(f"LOG_LEVEL={level} is not a log level: set it to one of {', '.join(LEVELS)}")

    logger.remove()
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        # diagnose would print the values of variables, secrets among them.
        logger.add(_write_json, level=level, format="{message}", backtrace=False, diagnose=False)
    else:
        logger.configure(extra={"correlation_id": "-"}, patcher=_escape_control_characters)
        logger.add(sys.stdout, level=level, format=_READABLE, backtrace=False, diagnose=False)

    logging.basicConfig(handlers=[_LoguruHandler()], level=logger.level(level).no, force=True)
    for name in ("uvicorn", "uvicorn.access"):  # uvicorn gave them handlers of their own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in ("uvicorn.access", "mangum.http"):  # request_log writes what they would write
        logging.getLogger(name).disabled = True


class _LoguruHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in LEVELS else record.levelno
        try:
            logger.opt(exception=record.exc_info).log(level, record.getMessage())
        except Exception:  # a library's own mistake, such as "%d" for a text, fails no request
            self.handleError(record)


def _write_json(message: "Message") -> None:
    record = message.record
    line = {
        "timestamp": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "message": record["message"],
    }
    line = line | record["extra"] | line  # in this order, and what is bound replaces none of the three
    if record["exception"]:
        line["exception"] = "".join(traceback.format_exception(record["exception"].value))
    sys.stdout.write(_ENCODER.encode(line) + "\n")


def _escape_control_characters(record: "Record") -> None:
    """Keeps a newline in a path from forging a second line; JSON escapes it by itself."""
    record["message"] = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in record["message"]
    )
