"""The correlation id of a request, and its one line in the log."""

import re
import time
import uuid
from typing import Any

from loguru import logger

CORRELATION_ID_HEADER = "x-correlation-id"
INTERNAL_ERROR = "Internal Server Error"
# An accepted id cannot break out of a log line, a header or a search query.
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# In characters: CloudWatch cuts a line that is too long into pieces.
_LONGEST = 1024
_cold_start = True


def choose_correlation_id(candidate: object) -> str:
    """The caller's id if it is 1 to 128 of `A-Z a-z 0-9 . _ -`, otherwise a new UUID4."""
    accepted = isinstance(candidate, str) and _ACCEPTED_ID.fullmatch(candidate)
    return accepted[0] if accepted else str(uuid.uuid4())


def collect_ids(event: Any, context: Any) -> dict[str, str]:
    """The correlation id of an event of any shape, and the ids by which AWS knows the invocation.

    Through a non-proxy integration the caller writes the event: `api_gateway_request_id` proves nothing there.
    """
    event = event if isinstance(event, dict) else {}
    candidate = None
    for headers in (event.get("headers"), event.get("multiValueHeaders")):
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if name.lower() == CORRELATION_ID_HEADER:
                candidate = value[-1] if isinstance(value, list) and value else value
    ids = {"correlation_id": choose_correlation_id(candidate)}
    request_context = event.get("requestContext")
    gateway_id = request_context.get("requestId") if isinstance(request_context, dict) else None
    if isinstance(gateway_id, str):
        ids["api_gateway_request_id"] = gateway_id[:128]
    if lambda_id := getattr(context, "aws_request_id", None):
        ids["aws_request_id"] = lambda_id
    return ids


def log_request(
    method: str | None, path: str | None, status: int, started: float, error: BaseException | None = None, **more: str
) -> None:
    """Writes the line of a request that began at `started`, a `time.perf_counter()`.

    An event that never became a request has no method and no path.
    """
    global _cold_start
    fields: dict[str, Any] = {"method": method and method[:_LONGEST], "path": path and path[:_LONGEST]}
    fields |= {"status": status, "duration_ms": round((time.perf_counter() - started) * 1000, 3)}
    line = logger.bind(**fields, cold_start=_cold_start, **more)
    _cold_start = False
    message = f"{fields['method']} {fields['path']} {status}" if method is not None else f"no request {status}"
    level = "ERROR" if error else "WARNING" if method is None else "INFO"
    (line.opt(exception=error) if error else line).log(level, message)
