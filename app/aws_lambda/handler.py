"""Puts an ASGI application behind Lambda, so that every event gets an answer."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from loguru import logger
from mangum import Mangum
from mangum.protocols import HTTPCycle
from mangum.types import ASGI, Receive, Scope, Send

from app.aws_lambda.events import RestEvent, describe_problems, describe_unreadable
from app.aws_lambda.lifespan import start_lifespan
from app.aws_lambda.logs import ON_LAMBDA, configure_logging
from app.aws_lambda.request_log import CORRELATION_ID_HEADER, INTERNAL_ERROR, collect_ids, log_request
from app.aws_lambda.sources import TEXT_TYPES, HttpApi, LoadBalancer, RestApi

Answer = dict[str, Any]

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_BYTES = 6 * 1024 * 1024
_ID_HEADER = CORRELATION_ID_HEADER.encode()
# Mangum uses the event loop of the thread. asyncio.run(), anywhere in the process, removes it: so the handler keeps its own.
_LOOP = asyncio.new_event_loop()


def create_handler(app: ASGI) -> Callable[[Any, Any], Answer]:
    """Makes the function that Lambda calls with an event and a context, for any ASGI application.

    Its answer has the format of a proxy integration. An event that it cannot read gets 400, and a failure gets 500.
    It never raises. In a non-proxy integration the caller would get the stack trace, with HTTP status 200:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/handle-errors-in-lambda-integration.html

    On Lambda the application's lifespan starts here, in the init phase: add its middleware and exception handlers
    before. Elsewhere the lifespan starts with the first event.

    Raises:
        ValueError: the environment variable LOG_LEVEL is not a log level.
        LifespanFailure: the application failed to start.
    """
    configure_logging()
    asyncio.set_event_loop(_LOOP)
    # RestApi comes first: Mangum would take a REST event with "version": "1.0" for one of an HTTP API.
    mangum = Mangum(app, lifespan="off", custom_handlers=[RestApi, LoadBalancer, HttpApi], text_mime_types=TEXT_TYPES)
    state = start_lifespan(app) if ON_LAMBDA in os.environ else None

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except BaseException as error:  # a response that was complete before is returned
            scope["aws.error"] = error

    def respond(source: Any, scope: Scope, body: bytes, correlation_id: str) -> Answer:
        nonlocal state
        state = start_lifespan(app) if state is None else state
        scope["state"] = state.copy()
        try:
            response = HTTPCycle(scope, body)(run)
        except AttributeError:  # the response has no status or no body
            raise RuntimeError("The application sent no complete response") from None
        # ASGI has values in Latin-1, and Mangum reads UTF-8.
        headers = [[name, value.decode("latin-1").encode()] for name, value in response["headers"]]
        headers = [header for header in headers if header[0].lower() != _ID_HEADER]
        response["headers"] = [*headers, [_ID_HEADER, correlation_id.encode()]]
        answer: Answer = source(response)
        if len(answer["body"]) > MOST_BYTES // 6:  # JSON may need six bytes for a character
            size = len(json.dumps(answer, ensure_ascii=False).encode())
            if size > MOST_BYTES:
                raise OverflowError(f"The response has {size} bytes. Lambda returns at most {MOST_BYTES}.")
        return answer

    def handler(event: Any, context: Any) -> Answer:
        started = time.perf_counter()
        ids = collect_ids(event, context)
        asyncio.set_event_loop(_LOOP)
        try:
            source: Any = mangum.infer(event, context)
        except Exception:
            source = None

        def answer(status: int, detail: str) -> Answer:
            body = json.dumps({"detail": detail}, separators=(",", ":"))
            headers = {"content-type": "application/json", "content-length": str(len(body))}
            headers[CORRELATION_ID_HEADER] = ids["correlation_id"]
            envelope = {"isBase64Encoded": False, "statusCode": status, "body": body}
            if isinstance(source, LoadBalancer) and "multiValueHeaders" in event:
                return envelope | {"multiValueHeaders": {name: [value] for name, value in headers.items()}}
            return envelope | {"headers": headers}

        with logger.contextualize(**ids):
            # An event of an unknown kind is checked as a REST event, so that the answer names the missing fields.
            problems = describe_problems(event, getattr(source, "shape", RestEvent))
            try:
                scope, body = (source.scope, source.body) if not problems else ({}, b"")
            except (ValueError, KeyError) as error:
                problems = describe_unreadable(error)
            if problems:
                log_request(None, None, 400, started)
                return answer(400, f"Not an event of API Gateway, a function URL or a load balancer: {problems[:2000]}")
            method, path = scope["method"], scope["path"].removeprefix(scope["root_path"])
            try:
                result = respond(source, scope, body, ids["correlation_id"])
            except OverflowError as error:
                scope["aws.error"], result = error, answer(500, str(error))
            except (Exception, asyncio.CancelledError) as error:
                scope.setdefault("aws.error", error)
                result = answer(500, INTERNAL_ERROR)
            # pop(): the error refers to the scope, and the two would keep the request's body in memory.
            failure = scope.pop("aws.error", None)
            caller = {"caller": source.caller} if source.caller else {}
            log_request(method, path, result["statusCode"], started, failure, **caller)
            return result

    return handler
