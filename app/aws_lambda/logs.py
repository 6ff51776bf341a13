"""Sends every log line, loguru's and the standard library's, to stdout: as flat JSON on Lambda, readable elsewhere."""

import json
import logging
import os
import sys
import traceback
from contextlib import suppress
from datetime import UTC

import loguru
from loguru import logger

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
ON_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME" in os.environ  # only Lambda and its emulators set it
READABLE = "{time:HH:mm:ss.SSS} | <level>{level: <8}</level> | {extra[correlation_id]} - <level>{message}</level>"
LONGEST_EXCEPTION = 64 * 1024  # in characters: CloudWatch would cut the line, and it would be no JSON any more
encode = json.JSONEncoder(default=str).encode  # json.dumps() would build an encoder for every line


def configure_logging() -> None:
    """Adds a log handler that writes to stdout, from the level in LOG_LEVEL (INFO) upwards.

    It replaces the handlers that loguru and Lambda start with, and those of uvicorn's loggers. The application's own
    handlers stay.

    Raises:
        ValueError: LOG_LEVEL is none of `LEVELS`.
    """
    level = (os.environ.get("LOG_LEVEL") or "INFO").upper()
    if level not in LEVELS:
        raise ValueError(f"LOG_LEVEL={level} is not a log level: set it to one of {', '.join(LEVELS)}")
    with suppress(ValueError):  # another call, or the application, has removed it
        logger.remove(0)
    # diagnose would print the values of variables, secrets among them.
    if ON_LAMBDA:
        logger.add(write_json, level=level, format="{message}", backtrace=False, diagnose=False)
    else:
        logger.configure(extra={"correlation_id": "-"}, patcher=escape_control_characters)
        colorize = False if os.environ.get("NO_COLOR") else None  # None: colour on a terminal
        logger.add(sys.stdout, level=level, format=READABLE, colorize=colorize, backtrace=False, diagnose=False)
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not type(each).__module__.startswith("awslambdaric")]
    root.addHandler(LoguruHandler())
    root.setLevel(logger.level(level).no)
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in ("uvicorn.access", "mangum.http"):  # RequestLog writes the line of a request
        logging.getLogger(name).disabled = True
    logging.getLogger("mangum.lifespan").setLevel(logging.WARNING)


class LoguruHandler(logging.Handler):
    """https://loguru.readthedocs.io/en/stable/overview.html#entirely-compatible-with-standard-logging"""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in LEVELS else record.levelno
        try:
            logger.opt(exception=record.exc_info).log(level, record.getMessage())
        except Exception:  # a library's own mistake, such as "%d" for a text, fails no request
            self.handleError(record)


def write_json(message: "loguru.Message") -> None:
    record = message.record
    timestamp = record["time"].astimezone(UTC).isoformat(timespec="milliseconds")
    line = {"timestamp": timestamp, "level": record["level"].name, "message": record["message"]}
    line = line | record["extra"] | line  # extra= must not overwrite timestamp, level or message
    if record["exception"]:
        line["exception"] = "".join(traceback.format_exception(record["exception"].value))[:LONGEST_EXCEPTION]
    sys.stdout.write(encode(line) + "\n")


def escape_control_characters(record: "loguru.Record") -> None:
    """Keeps a newline in a path from forging a second line. JSON escapes it by itself."""
    characters = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in record["message"])
    record["message"] = "".join(characters)
