"""Generated events: the handler answers each as API Gateway expects, and writes one line to the log."""

import base64
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import Any

import pytest
from behind_lambda import make_handler
from fastapi import FastAPI
from helpers import EVENTS, ROOT, load_event
from hypothesis import HealthCheck, example, given, settings
from hypothesis import event as tally
from hypothesis import strategies as st
from loguru import logger
from starlette.requests import Request

from app.aws_lambda import event_in_body
from app.aws_lambda.events import OtherServiceError
from app.aws_lambda.logs import write_json

CONTEXT = SimpleNamespace(aws_request_id="8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10")
GUIDE = load_event("guide")
# `make fuzz` sets CASES, and generates other events each time. Without CASES the 300 events are always the same.
CASES = os.environ.get("CASES")
SECRET = os.urandom(16).hex()
OWN_PATH = "/hello-lambda"


def nest(depth: int, inside: Any) -> Any:
    for _ in range(depth):
        inside = {"a": [inside]}
    return inside


# JSON as Lambda's runtime reads it. It accepts half of a surrogate pair, 1e999 and deep nesting, but no NaN.
CHARACTERS = st.text(st.characters())
TEXT = CHARACTERS | st.builds(lambda text, times: text * times, CHARACTERS, st.integers(0, 3000))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=10)
JSON = VALUES | st.builds(nest, st.integers(100, 450), SCALARS)

PATHS = ["/hello", "/hello/", "/goodbye", "/docs", "/openapi.json", "/fail", "/echo", "/nothing", "/hello/\n", "", "%"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "TRACE", "get", "", "GET / HTTP/1.1\r\n"]
NAMES = [
    *("x-correlation-id", "X-Correlation-ID", "host", "Host", "x-forwarded-port", "x-forwarded-for"),
    *("x-forwarded-proto", "content-length", "content-type", "Content-Type", "cookie", "a\r\nset-cookie", ""),
]
PATH, METHOD, NAME = (st.sampled_from(usual) | TEXT for usual in (PATHS, METHODS, NAMES))
VALUE = st.sampled_from(["mine", "a:80", "[::1]:80", "-1", "9" * 5000, "a\r\nset-cookie: b"]) | TEXT
MANY_HEADERS = st.integers(0, 10_000).map(lambda number: {f"x-{index}": "a" for index in range(number)})
# Likely values of an event's fields.
LIKELY: dict[tuple[str, ...], st.SearchStrategy[Any]] = {
    ("path",): PATH,
    ("httpMethod",): METHOD,
    ("requestContext", "http", "path"): PATH,
    ("requestContext", "http", "method"): METHOD,
    ("requestContext", "elb"): JSON,
    ("requestContext", "requestId"): TEXT,
    ("requestContext", "identity"): st.dictionaries(st.just("sourceIp"), SCALARS),
    ("resource",): TEXT,
    ("version",): st.sampled_from(["1.0", "2.0"]),
    ("headers",): st.dictionaries(NAME, VALUE, max_size=10) | MANY_HEADERS,
    ("multiValueHeaders",): st.dictionaries(NAME, st.lists(VALUE, max_size=5), max_size=10),
    ("queryStringParameters",): st.dictionaries(TEXT, TEXT),
    ("multiValueQueryStringParameters",): st.dictionaries(TEXT, st.lists(TEXT)),
    ("rawQueryString",): TEXT,
    ("cookies",): st.lists(TEXT),
    ("body",): TEXT | st.binary().map(lambda body: base64.b64encode(body).decode()),
    ("isBase64Encoded",): st.booleans(),
}


def set_field(event: Any, path: tuple[str, ...], value: Any) -> None:
    """Sets a field, unless the event has nothing to hold it."""
    for key in path[:-1]:
        event = event.get(key)
        if not isinstance(event, dict):
            return
    event[path[-1]] = value


def list_fields(event: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for key, value in event.items():
        yield event, key
        if isinstance(value, dict):
            yield from list_fields(value)


@st.composite
def events(draw: st.DrawFn) -> Any:
    """A real event on one of the routes, with up to five changes: mostly likely values, so that many reach the app."""
    if draw(st.sampled_from(range(10))) == 9:
        return draw(JSON)
    if draw(st.sampled_from(range(10))) == 9:
        return wrap(draw(events()))
    event = load_event(draw(st.sampled_from(EVENTS)))
    path = ("requestContext", "http", "path") if "http" in event["requestContext"] else ("path",)
    set_field(event, path, draw(st.sampled_from(PATHS)))
    for _ in range(draw(st.integers(0, 5))):
        change = draw(st.sampled_from(["likely"] * 6 + ["any", "drop"]))
        if change == "likely":
            field, values = draw(st.sampled_from(list(LIKELY.items())))
            set_field(event, field, draw(values))
        elif fields := list(list_fields(event)):
            holder, key = draw(st.sampled_from(fields))
            del holder[key]
            if change == "any":
                holder[key] = draw(JSON)
    return event


def wrap(event: Any) -> dict[str, Any]:
    """A POST with the event in its body."""
    body = base64.b64encode(json.dumps(event).encode()).decode()
    change = {"httpMethod": "POST", "path": OWN_PATH, "body": body, "isBase64Encoded": True}
    return load_event("rest_api") | change


def make_app() -> FastAPI:
    """A route that answers, one that fails with a secret, and one that reads everything."""
    app = FastAPI()

    @app.get("/hello/")
    async def say_hello() -> str:
        return "hello"

    @app.api_route("/fail", methods=["GET", "POST"])
    async def fail() -> None:
        raise RuntimeError(SECRET)

    @app.api_route("/echo", methods=["GET", "POST"])
    async def echo(request: Request) -> dict[str, Any]:
        return {
            "url": str(request.url),
            "query": request.query_params.multi_items(),
            "headers": request.headers.items(),
            "cookies": request.cookies,
            "body": (await request.body()).decode("latin-1"),
        }

    return app


@pytest.fixture(scope="module")
def handler() -> Iterator[Any]:
    """Logs as on Lambda."""
    logger.remove()
    logger.configure(extra={}, patcher=lambda _: None)
    number = logger.add(write_json, format="{message}", level="INFO")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_in_body, "OWN_PATH", OWN_PATH)
        yield make_handler(make_app())
    logger.remove(number)


@settings(
    max_examples=int(CASES or 300),
    derandomize=not CASES,
    print_blob=True,
    # Both would fail when another program has the CPU.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(event=events())
@example(event={**GUIDE, "path": "/echo", "headers": {f"x-{index}": "a" for index in range(10_000)}})
# Half of a surrogate pair: in the text of a refusal, in the log, and in a body that becomes bytes.
@example(event={**GUIDE, "headers": {"\ud800": None}})
@example(event={**GUIDE, "httpMethod": "\ud800", "requestContext": {"requestId": "\ud800"}})
@example(event={**GUIDE, "path": "/echo", "body": "\ud800"})
# Attempts to forge a line of the log or a header of the answer.
@example(event={**GUIDE, "path": "/\n{}\u2028", "headers": {"x-correlation-id": "a\r\nset-cookie: b"}})
@example(event={**GUIDE, "headers": {"x-correlation-id": "mine\n"}})
# The correlation id of a refusal comes from an event of any shape.
@example(event={"multiValueHeaders": {"x-correlation-id": []}, "headers": {"X-Correlation-Id": {}}})
# Two kinds of event in one: Mangum must read it as the kind that was checked.
@example(event={**load_event("http_api"), "resource": "/hello"})
@example(event={**load_event("http_api"), "requestContext": {**load_event("http_api")["requestContext"], "elb": None}})
# The route fails with a secret in the exception.
@example(event={**GUIDE, "path": "/fail"})
@example(event=wrap({**GUIDE, "path": "/fail"}))
@example(event=wrap({**GUIDE, "path": "/echo", "body": "\ud800"}))
def test_handler_answers_every_event(handler: Any, event: Any) -> None:
    tally(check_answer(handler, event))


@pytest.mark.parametrize(
    "event", [nest(450, None), {**GUIDE, "requestContext": nest(449, None)}], ids=["all", "a part"]
)
def test_handler_answers_a_deep_event(handler: Any, event: Any) -> None:
    """Hypothesis cannot print so deep an event."""
    check_answer(handler, event)


def check_answer(handler: Any, event: Any) -> str:
    """Returns the kind of the answer."""
    with redirect_stdout(io.StringIO()) as output:
        try:
            answer = handler(event, CONTEXT)
        except OtherServiceError:  # AWS repeats the event
            return "another service"
    kind = f"status {answer['statusCode']}"

    if (answer.get("headers") or {}).get("content-type") == "application/json" and '{"statusCode": ' in answer["body"]:
        answer = json.loads(answer["body"])
    assert set(answer) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    assert [type(answer[name]) for name in ("statusCode", "body", "isBase64Encoded")] == [int, str, bool]
    assert 200 <= answer["statusCode"] <= 599
    headers = list(answer.get("headers", {}).items())
    headers += [(name, value) for name, values in answer.get("multiValueHeaders", {}).items() for value in values]
    assert [text for header in headers for text in header if type(text) is not str or not text.isprintable()] == []
    body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    assert dict(headers)["content-length"] == str(len(body)) or "HEAD" in output.getvalue()
    # Lambda's runtime encodes the answer like this, and fails at half of a surrogate pair.
    sent = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    assert [hidden for hidden in (SECRET, str(ROOT), "site-packages", "Traceback") if hidden.encode() in sent] == []

    (line,) = output.getvalue().splitlines()
    logged = json.loads(line)
    assert (logged["status"], logged["correlation_id"]) == (answer["statusCode"], dict(headers)["x-correlation-id"])
    # An event that is no request gets 400, and never the application's failure.
    assert answer["statusCode"] == 400 or "method" in logged
    # CloudWatch cuts longer lines (since 2025 at 1 MB).
    assert len(line) < 256 * 1024
    return kind
