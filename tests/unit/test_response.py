"""The handler treats a response as an ASGI server does, where Mangum alone would not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from behind_lambda import make_handler
from fastapi import FastAPI
from helpers import load_event
from loguru import logger
from starlette.responses import StreamingResponse

from app.aws_lambda import response

MB = 1_000_000
GUIDE = load_event("guide") | {"headers": {"x-correlation-id": "mine"}}


def respond(*messages: dict[str, Any]) -> Callable[..., Any]:
    """An application that sends these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for message in messages:
                await send(message)

    return app


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def make_body(body: bytes, *, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more_body}


TEXT = (b"content-type", b"text/plain")


def count_lines(app: Any) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """The answer to the guide's event, and the level and status of each line in the log."""
    lines: list[tuple[str, int]] = []
    number = logger.add(lambda line: lines.append((line.record["level"].name, line.record["extra"]["status"])))
    answer = make_handler(app)(GUIDE, None)
    logger.remove(number)
    return answer, lines


def check_500(app: Any) -> None:
    answer, lines = count_lines(app)
    headers = {"content-length": "21", "content-type": "text/plain; charset=utf-8", "x-correlation-id": "mine"}
    assert (answer["statusCode"], answer["headers"], answer["body"]) == (500, headers, "Internal Server Error")
    assert lines == [("ERROR", 500)]


@pytest.mark.parametrize(
    "messages",
    [
        # It does not end, a message comes at a wrong time, or the start is missing.
        *([], [start()], [start(), make_body(b"a part", more_body=True)]),
        *([start(), {"type": f"http.response.{kind}"}, make_body(b"real")] for kind in ("trailers", "start")),
        [make_body(b"no start")],
        # A header has a character that HTTP does not allow.
        *([start((b"x-a", value)), make_body(b"")] for value in (b"1\r\na: b", b"1\n", b"\r", b"\0")),
        *([start((name, b"1")), make_body(b"")] for name in (b"x\r\na", "x-é".encode(), b"", b"x a")),
    ],
)
def test_response_that_http_does_not_allow_becomes_500_and_one_line(messages: list[dict[str, Any]]) -> None:
    check_500(respond(*messages))


def test_stream_that_breaks_off_becomes_500_and_one_line() -> None:
    async def break_off() -> AsyncIterator[bytes]:
        yield b"the first part"
        raise RuntimeError("hunter2")

    app = FastAPI()
    app.get("/hello/")(lambda: StreamingResponse(break_off()))
    check_500(app)


def test_response_without_headers_gets_the_correlation_id() -> None:
    app = respond({"type": "http.response.start", "status": 204}, {"type": "http.response.body"})
    answer = make_handler(app)(GUIDE, None)
    assert (answer["statusCode"], answer["headers"]) == (204, {"x-correlation-id": "mine"})


def test_header_may_have_a_tab_and_latin_1() -> None:
    answer = make_handler(respond(start((b"X-Name", "grö\tße".encode("latin-1"))), make_body(b"")))(GUIDE, None)
    assert (answer["statusCode"], answer["headers"]["x-name"]) == (200, "grö\tße")


def test_size_is_measured_whatever_the_spelling_of_the_content_type() -> None:
    app = respond(start((b"Content-Type", b"application/json")), make_body(b'"' * int(3.6 * MB)))
    assert make_handler(app)(GUIDE, None)["statusCode"] == 500


def test_large_headers_count_as_well() -> None:
    cookies = [(b"set-cookie", b"a" * 4000)] * 10
    app = respond(start(TEXT, *cookies), make_body(b"a" * int(6.28 * MB)))
    assert make_handler(app)(GUIDE, None)["statusCode"] == 500


@pytest.mark.parametrize("name", ["guide", "function_url", "alb"])
def test_response_to_head_has_no_body(name: str) -> None:
    event = load_event(name) | {"httpMethod": "HEAD"}
    if "http" in event["requestContext"]:
        event["requestContext"]["http"]["method"] = "HEAD"
    answer = make_handler(respond(start(TEXT, (b"content-length", b"5")), make_body(b"hello")))(event, None)
    assert (answer["statusCode"], answer["body"], answer["headers"]["content-length"]) == (200, "", "5")


def test_receive_repeats_the_disconnect() -> None:
    received = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await respond(start(), make_body(b""))(scope, receive, send)
            received.extend([(await asyncio.wait_for(receive(), 5))["type"] for _ in range(4)])

    assert make_handler(app)(GUIDE, None)["statusCode"] == 200
    assert received == ["http.request", "http.disconnect", "http.disconnect", "http.disconnect"]


ESCAPED, PLAIN = True, False  # whether Lambda's runtime client escapes all but ASCII


@pytest.mark.parametrize(
    ("content_type", "body", "escaped", "status"),
    [
        (b"text/plain", b"a" * int(6.28 * MB), PLAIN, 200),
        (b"text/plain", b"a" * int(6.3 * MB), PLAIN, 500),
        (b"application/json", b'"' * int(3.14 * MB), PLAIN, 200),
        (b"application/json", b'"\n' * int(1.6 * MB), PLAIN, 500),
        (b"text/plain", b"\x01" * int(1.04 * MB), PLAIN, 200),
        (b"text/plain", b"\x01" * int(1.06 * MB), PLAIN, 500),
        (b"text/plain", "é".encode() * int(3.1 * MB), PLAIN, 200),
        (b"text/plain", "é".encode() * int(1.04 * MB), ESCAPED, 200),
        (b"text/plain", "é".encode() * int(1.4 * MB), ESCAPED, 500),
        (b"image/png", b"\xff" * int(4.7 * MB), PLAIN, 200),
        (b"text/plain", b"\x7f" * int(1.2 * MB), ESCAPED, 500),
        (b"image/png", b"\xff" * int(4.8 * MB), PLAIN, 500),
        (b"text/plain", b"\xff" * int(4.8 * MB), PLAIN, 500),  # Mangum encodes it as base64
    ],
)
def test_answer_has_at_most_what_lambda_returns(
    content_type: bytes, body: bytes, escaped: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "ESCAPES_UNICODE", escaped)
    answer, lines = count_lines(respond(start((b"content-type", content_type)), make_body(body)))
    assert (answer["statusCode"], lines) == (status, [("INFO" if status == 200 else "ERROR", status)])
    assert len(json.dumps(answer, ensure_ascii=escaped).encode()) <= 6 * 1024 * 1024
    if status == 500:
        assert answer["body"].startswith("The response has ")
        assert answer["body"].endswith(" bytes. Lambda returns at most 6291456.")
