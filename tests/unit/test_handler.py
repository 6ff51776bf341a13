"""The handler as Lambda calls it, on the events that AWS sends and on others."""

import asyncio
import base64
import gc
import json
import re
import tracemalloc
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import EVENTS, load_event
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.app import app, handler
from app.aws_lambda.handler import create_handler

CONTEXT = SimpleNamespace(aws_request_id="8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10")
GUIDE = load_event("guide")


@pytest.mark.parametrize("name", EVENTS)
def test_handler_answers_every_kind_of_event(name: str) -> None:
    answer = handler(load_event(name), CONTEXT)
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (
        200,
        '{"message":"Hello, World"}',
        False,
    )


def test_handler_answers_goodbye() -> None:
    answer = handler({**GUIDE, "resource": "/goodbye", "path": "/goodbye/"}, CONTEXT)
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Goodbye, World"}')


def test_handler_answers_the_guides_envelope() -> None:
    answer = handler({**GUIDE, "headers": {"x-correlation-id": "mine"}}, CONTEXT)
    assert answer == {
        "isBase64Encoded": False,
        "statusCode": 200,
        "headers": {"content-length": "26", "content-type": "application/json", "x-correlation-id": "mine"},
        "multiValueHeaders": {},
        "body": '{"message":"Hello, World"}',
    }


@pytest.mark.parametrize("name", ["guide", "rest_api"])
def test_handler_takes_a_rest_event_with_a_version(name: str) -> None:
    answer = handler({**load_event(name), "version": "1.0"}, CONTEXT)
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')


@pytest.mark.parametrize("name", EVENTS)
def test_handler_takes_the_callers_correlation_id(name: str) -> None:
    event = load_event(name)
    if "multiValueHeaders" in event:
        event["multiValueHeaders"]["X-Correlation-Id"] = ["mine"]
    if "headers" in event or "multiValueHeaders" not in event:
        event.setdefault("headers", {})["X-Correlation-Id"] = "mine"
    answer = handler(event, CONTEXT)
    assert "mine" in (
        answer.get("headers", {}).get("x-correlation-id"),
        *answer.get("multiValueHeaders", {}).get("x-correlation-id", []),
    )


def test_handler_answers_multi_value_alb_in_kind() -> None:
    answer = handler(load_event("alb_multi_value"), CONTEXT)
    assert answer["multiValueHeaders"]["content-type"] == ["application/json"]
    assert "headers" not in answer


def refuse(event: Any) -> str:
    """The detail of the 400 that an event gets, once everything else about the answer is right."""
    answer = handler(event, CONTEXT)
    body = json.loads(answer["body"])
    if "multiValueHeaders" in answer:  # as a load balancer with multi-value headers wants it
        answer["headers"] = {name: value for name, (value,) in answer.pop("multiValueHeaders").items()}
    correlation_id = answer["headers"].pop("x-correlation-id")
    assert answer == {
        "isBase64Encoded": False,
        "statusCode": 400,
        "headers": {"content-length": str(len(answer["body"])), "content-type": "application/json"},
        "body": answer["body"],
    }
    assert len(correlation_id) == 36
    assert list(body) == ["detail"]
    return str(body["detail"])


@pytest.mark.parametrize("event", [[], None, "text", "", 3, 1.5, True])
def test_handler_refuses_what_is_no_object(event: Any) -> None:
    assert "event: " in refuse(event)


@pytest.mark.parametrize("event", [{}, {"source": "warm-up"}, {"Records": []}, {"version": "1.0"}])
def test_handler_names_all_five_fields_of_an_event_without_them(event: Any) -> None:
    detail = refuse(event)
    assert [name for name in GUIDE if f"{name}: " not in detail] == []


@pytest.mark.parametrize("name", list(GUIDE))
def test_handler_names_the_missing_field(name: str) -> None:
    detail = refuse({key: value for key, value in GUIDE.items() if key != name})
    assert [field for field in GUIDE if f"{field}: " in detail] == [name]


@pytest.mark.parametrize("value", [3, [], ["a"], True])
@pytest.mark.parametrize("name", list(GUIDE))
def test_handler_names_the_field_of_the_wrong_type(name: str, value: Any) -> None:
    detail = refuse({**GUIDE, name: value})
    assert [field for field in GUIDE if f"{field}: " in detail] == [name]


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("guide", {"headers": ["a"]}, "headers"),
        ("guide", {"headers": {"a": None}}, "headers.a"),
        ("guide", {"headers": {"host": "a:b"}}, "headers: host"),
        ("guide", {"headers": {"host": "::1"}}, "headers: host"),
        ("guide", {"headers": {"x-forwarded-port": ""}}, "headers: host or x-forwarded-port"),
        ("guide", {"headers": {"a": "\ud800"}}, "half of a surrogate pair"),
        ("guide", {"multiValueHeaders": {"a": "b"}}, "multiValueHeaders.a"),
        ("guide", {"multiValueQueryStringParameters": {"a": "b"}}, "multiValueQueryStringParameters.a"),
        ("guide", {"requestContext": {"identity": None}}, "requestContext.identity"),
        ("guide", {"body": {"a": 1}}, "body"),
        ("guide", {"body": "a", "isBase64Encoded": True}, "body: Input should be base64"),
        ("guide", {"isBase64Encoded": "yes"}, "isBase64Encoded"),
        ("guide", {"queryStringParameters": {"a": 1}}, "queryStringParameters.a"),
        ("guide", {"requestContext": {"identity": {"sourceIp": 1}}}, "requestContext.identity.sourceIp"),
        ("http_api", {"rawQueryString": None}, "rawQueryString"),
        ("http_api", {"requestContext": {}}, "requestContext.http"),
        ("http_api", {"requestContext": {"http": {"method": "GET", "path": "/"}}}, "requestContext.http.sourceIp"),
        ("http_api", {"headers": None}, "headers"),
        ("http_api", {"cookies": "a=b"}, "cookies"),
        ("alb", {"headers": None}, "headers"),
        ("alb", {"path": None}, "path"),
        ("alb_multi_value", {"multiValueHeaders": None}, "multiValueHeaders"),
    ],
)
def test_handler_names_what_is_wrong_in_any_kind_of_event(name: str, change: dict[str, Any], wrong: str) -> None:
    assert wrong in refuse({**load_event(name), **change}).split(": ", 1)[1]


def test_handler_keeps_the_refusal_of_a_huge_event_short() -> None:
    assert len(refuse({**GUIDE, "headers": {"x" * 5_000_000: 1}})) < 3000


# 6 MB, which is what Lambda takes. Served, they took up to ten seconds and half a gigabyte.
MANY = 1_500_000


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("guide", {"path": "%" * 6_000_000}),
        ("guide", {"queryStringParameters": {"a": "%" * 6_000_000}}),
        ("guide", {"multiValueQueryStringParameters": {"a": ["é"] * MANY}}),
        ("guide", {"multiValueHeaders": {"a": ["é"] * MANY}}),
        ("http_api", {"rawQueryString": "a=b&" * MANY}),
        ("http_api", {"cookies": ["a"] * MANY}),
        ("alb", {"queryStringParameters": {"%" * 6_000_000: "a"}}),
        ("alb_multi_value", {"multiValueHeaders": {"host": ["a"] * MANY}}),
    ],
)
def test_handler_refuses_what_is_large_and_no_body(name: str, change: dict[str, Any]) -> None:
    assert "besides its body it should have at most 262144 characters" in refuse({**load_event(name), **change})


def test_handler_takes_what_is_not_read_however_large_and_deep() -> None:
    deep: Any = "a" * 5_000_000
    for _ in range(900):
        deep = [deep]
    event = {**GUIDE, "stageVariables": deep, "requestContext": {"authorizer": deep}}
    assert handler(event, CONTEXT)["statusCode"] == 200


def test_handler_takes_a_large_body() -> None:
    assert handler({**GUIDE, "body": "a" * 5_900_000}, CONTEXT)["statusCode"] == 200


@pytest.mark.parametrize("change", [{"headers": {"a": 1, "b": 2}}, {"multiValueHeaders": {"a": [1, 2], "b": 3}}])
def test_handler_names_one_of_many_wrong_items(change: dict[str, Any]) -> None:
    """To find and name all that fit into 6 MB would take half a minute, and 3 GB."""
    assert refuse({**GUIDE, **change}).count("Input should be") == 1


def test_handler_refuses_with_the_callers_correlation_id() -> None:
    answer = handler({"headers": {"X-Correlation-ID": "mine"}}, CONTEXT)
    assert (answer["statusCode"], answer["headers"]["x-correlation-id"]) == (400, "mine")


def test_handler_refuses_a_load_balancer_in_kind() -> None:
    event = {**load_event("alb_multi_value"), "path": None}
    event["multiValueHeaders"]["x-correlation-id"] = ["mine"]
    answer = handler(event, CONTEXT)
    assert (answer["statusCode"], answer["multiValueHeaders"]["x-correlation-id"]) == (400, ["mine"])
    assert "headers" not in answer


def fail(how: str) -> Any:
    """An endpoint that fails in one of the ways there are."""

    async def break_off() -> AsyncIterator[bytes]:
        yield b"the first part"
        raise RuntimeError

    async def endpoint() -> Response:
        match how:
            case "an exception":
                raise RuntimeError
            case "the end of the program":
                raise SystemExit("bye")
            case "a cancellation":
                raise asyncio.CancelledError
            case "a stream that breaks off":
                return StreamingResponse(break_off())
            case _:  # a header's name of Latin-1
                return Response(headers={"x-é": "a"})

    return endpoint


@pytest.mark.parametrize(
    "how",
    [
        *("an exception", "the end of the program", "a cancellation", "a stream that breaks off"),
        "a header's name of Latin-1",
    ],
)
def test_handler_answers_every_failure_with_500_and_the_callers_id(how: str, own_routes: None) -> None:
    app.add_api_route("/fail", fail(how))
    answer = handler({**GUIDE, "path": "/fail", "headers": {"x-correlation-id": "mine"}}, CONTEXT)
    assert (answer["statusCode"], answer["body"]) == (500, '{"detail":"Internal Server Error"}')
    assert answer["headers"]["x-correlation-id"] == "mine"


def test_handler_returns_a_header_of_latin_1(own_routes: None) -> None:
    app.add_api_route("/latin", lambda: Response(headers={"x-name": "größe"}))
    answer = handler({**GUIDE, "path": "/latin"}, CONTEXT)
    assert (answer["statusCode"], answer["headers"]["x-name"]) == (200, "größe")


def test_failed_request_leaves_no_body_in_memory(failing_route: str) -> None:
    class Body(str):
        """A text whose end can be seen."""

    def fail() -> weakref.ref[Body]:
        body = Body("a" * 1000)
        assert (
            handler({**GUIDE, "httpMethod": "GET", "path": failing_route, "body": body}, CONTEXT)["statusCode"] == 500
        )
        return weakref.ref(body)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_handler_keeps_a_resource_of_many_parameters_small() -> None:
    event = {
        **load_event("rest_api"),
        **{"resource": "{a}" * 20_000, "path": "/q", "pathParameters": {"a": "b" * 100_000}},
        "requestContext": {"path": "/q"},
    }
    tracemalloc.start()
    try:
        assert handler(event, CONTEXT)["statusCode"] == 404
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_handler_answers_500_where_a_route_cancels_its_own_task(own_routes: None) -> None:
    @app.get("/cancel")
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()

    answer = handler({**GUIDE, "path": "/cancel", "headers": {"x-correlation-id": "mine"}}, CONTEXT)
    assert (answer["statusCode"], answer["headers"]["x-correlation-id"]) == (500, "mine")


def test_handler_adds_the_correlation_id_to_an_answer_without_headers(own_routes: None) -> None:
    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    app.mount("/raw", raw)
    answer = handler({**GUIDE, "path": "/raw/", "headers": {"x-correlation-id": "mine"}}, CONTEXT)
    assert (answer["statusCode"], answer["headers"]) == (204, {"x-correlation-id": "mine"})


def test_handler_answers_500_where_the_application_says_nothing() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    answer = create_handler(silent)({**GUIDE, "headers": {"x-correlation-id": "mine"}}, CONTEXT)
    assert (answer["statusCode"], answer["body"]) == (500, '{"detail":"Internal Server Error"}')
    assert answer["headers"]["x-correlation-id"] == "mine"


def test_handler_passes_query_and_body_on(own_routes: None) -> None:
    @app.post("/echo")
    async def echo(request: Request) -> dict[str, Any]:
        return {"query": request.query_params.multi_items(), "body": (await request.body()).decode()}

    event = {
        **GUIDE,
        "httpMethod": "POST",
        "path": "/echo",
        "multiValueQueryStringParameters": {"a": ["1", "2 3"], "ä": ["&"]},
        "body": base64.b64encode("dünn".encode()).decode(),
        "isBase64Encoded": True,
    }
    answer = handler(event, CONTEXT)
    assert json.loads(answer["body"]) == {"query": [["a", "1"], ["a", "2 3"], ["ä", "&"]], "body": "dünn"}


def make_large(size: int, media_type: str) -> Any:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", media_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\xff" * size if media_type == "image/png" else b"a" * size})

    return large


@pytest.mark.parametrize(("size", "media_type"), [(6_200_000, "text/plain"), (4_600_000, "image/png")])
def test_handler_returns_an_answer_of_almost_6_mb(size: int, media_type: str) -> None:
    assert create_handler(make_large(size, media_type))(GUIDE, CONTEXT)["statusCode"] == 200


@pytest.mark.parametrize(("size", "media_type"), [(6_300_000, "text/plain"), (4_800_000, "image/png")])
def test_handler_answers_500_instead_of_more_than_6_mb(size: int, media_type: str) -> None:
    answer = create_handler(make_large(size, media_type))(GUIDE, CONTEXT)
    assert answer["statusCode"] == 500
    detail = json.loads(answer["body"])["detail"]
    assert re.fullmatch(r"The response has \d{7} bytes\. Lambda returns at most 6291456\.", detail)


def read_scope(event: dict[str, Any]) -> dict[str, Any]:
    """The scope that an application gets for an event."""
    scopes = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await make_large(1, "text/plain")(scope, receive, send)

    create_handler(keep)(event, CONTEXT)
    (scope,) = (each for each in scopes if each["type"] == "http")
    return dict(scope)


def test_handler_gives_the_event_and_the_context_to_the_application() -> None:
    """README's dependency that reads the caller depends on it."""
    event = load_event("rest_api")
    scope = read_scope(event)
    assert (scope["aws.event"], scope["aws.context"]) == (event, CONTEXT)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/default", "/default/hello/", b"/default/hello/")


@pytest.mark.parametrize(
    ("change", "root_path", "path"),
    [
        ({}, "/default", "/default/hello/"),
        ({"resource": "/", "path": "/", "requestContext": {"path": "/default"}}, "/default", "/default/"),
        ({"resource": "/", "path": "/", "requestContext": {"path": "/default/"}}, "/default", "/default/"),
        ({"path": "/default/a", "requestContext": {"path": "/default/default/a"}}, "/default", "/default/default/a"),
        # Behind a custom domain, with a base path of one or two parts or with none.
        ({"path": "/v1/hello/", "requestContext": {"path": "/v1/hello/"}}, "/v1", "/v1/hello/"),
        ({"path": "/a/v1/hello", "requestContext": {"path": "/a/v1/hello"}}, "/a/v1", "/a/v1/hello"),
        ({"path": "/hello", "requestContext": {"path": "/hello"}}, "", "/hello"),
        ({"path": "/hello/hello", "requestContext": {"path": "/hello/hello"}}, "/hello", "/hello/hello"),
        ({"resource": "/", "path": "/v1", "pathParameters": None, "requestContext": {"path": "/v1"}}, "/v1", "/v1/"),
        ({"resource": "/items/{id}", "pathParameters": {"id": "a b"}, "path": "/v1/items/a%20b"}
         | {"requestContext": {"path": "/v1/items/a%20b"}}, "/v1", "/v1/items/a b"),
        ({"path": "/v1/a%2541", "pathParameters": {"proxy": "a%41"}, "requestContext": {"path": "/v1/a%2541"}},
         "/v1", "/v1/a%41"),
        # Paths that do not fit each other, as a caller may write them.
        ({"path": "/other", "requestContext": {"path": "/default/hello/"}}, "", "/other"),
        ({"path": "/v1/a", "requestContext": {"path": "/v1/a"}, "pathParameters": None}, "", "/v1/a"),
    ],
)  # fmt: skip
def test_handler_finds_what_stands_in_front_of_the_path(change: dict[str, Any], root_path: str, path: str) -> None:
    scope = read_scope({**load_event("rest_api"), **change})
    assert (scope["root_path"], scope["path"]) == (root_path, path)


def test_handler_strips_the_stage_of_an_http_api() -> None:
    event = load_event("http_api")
    event["requestContext"] |= {"stage": "test", "http": {**event["requestContext"]["http"], "path": "/test/hello/"}}
    assert handler(event, CONTEXT)["statusCode"] == 200
