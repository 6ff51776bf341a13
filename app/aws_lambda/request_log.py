"""Gives each request a correlation id and one line in the log, on Lambda as on uvicorn."""

import re
import time
import uuid
from contextlib import suppress

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-correlation-id"
# An accepted id cannot break out of a log line, a header or a search query.
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
LONGEST = 1024  # in characters: CloudWatch would cut a longer line into pieces


class RequestLog:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.cold_start = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "correlation_id" in scope:  # of two applications, the outer one writes the line
            await self.app(scope, receive, send)
            return

        started, status, complete = time.perf_counter(), 500, False
        correlation_id = scope["correlation_id"] = choose_correlation_id(Headers(scope=scope).get(HEADER))
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # before a mount changes the root path

        async def send_with_id(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])  # ASGI lets an application leave them out
                MutableHeaders(scope=message)[HEADER] = correlation_id
            await send(message)
            status = message.get("status", status)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        with logger.contextualize(correlation_id=correlation_id, **read_aws_ids(scope)):
            try:
                await self.app(scope, receive, send_with_id)
                lost = not complete and "aws.event" in scope  # A client of uvicorn may leave. Lambda's never does.
                self.log(scope["method"], path, 500 if lost else status, started, "ERROR" if lost else "INFO")
            except BaseException as error:
                self.log(scope["method"], path, status if complete else 500, started, "ERROR", error)
                if not complete:  # the server has to end the connection
                    raise

    def log(
        self, method: str, path: str, status: int, started: float, level: str, error: BaseException | None = None
    ) -> None:
        line = {"method": method[:LONGEST], "path": path[:LONGEST], "status": status, "cold_start": self.cold_start}
        line["duration_ms"] = round((time.perf_counter() - started) * 1000, 3)
        logger.bind(**line).opt(exception=error).log(level, "{method} {path} {status}", **line)
        self.cold_start = False


def choose_correlation_id(candidate: object) -> str:
    """The candidate if it is 1 to 128 of `A-Z a-z 0-9 . _ -`, otherwise a new UUID4."""
    return candidate if isinstance(candidate, str) and ACCEPTED_ID.fullmatch(candidate) else str(uuid.uuid4())


def read_aws_ids(scope: Scope) -> dict[str, str]:
    """The ids by which AWS knows a request and its caller. uvicorn has none, and a refused event may have any shape."""
    ids = {"aws_request_id": getattr(scope.get("aws.context"), "aws_request_id", None)}
    with suppress(AttributeError, KeyError, TypeError):
        request = scope["aws.event"]["requestContext"]
        ids["api_gateway_request_id"] = request.get("requestId")
        ids["caller"] = (request.get("identity") or request["authorizer"]["iam"])["userArn"]
    return {name: value[:LONGEST] for name, value in ids.items() if isinstance(value, str)}
