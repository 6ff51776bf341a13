"""An application gets a request as the client sent it, from the event of each service."""

import base64
import json
import tracemalloc
from typing import Any

import httpx
import pytest
from behind_lambda import make_handler
from fastapi import FastAPI
from fastapi import Request as FastApiRequest
from helpers import EVENTS, ROOT, load_event
from senders import SERVICES, Request, make_http_event, make_rest_event

# Sent by real AWS: https://github.com/localstack/localstack, tests/aws/services/apigateway. The ids are made up.
RECORDED = json.loads((ROOT / "tests/unit/recorded_rest_events.json").read_text())


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


def read_request(event: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The ASGI scope and the body that an application gets for an event."""
    requests = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            requests.append((scope, (await receive())["body"]))
            await answer(scope, receive, send)

    assert make_handler(keep)(event, None)["statusCode"] == 204
    return requests[0]


def read_scope(event: dict[str, Any]) -> dict[str, Any]:
    return read_request(event)[0]


@pytest.mark.parametrize("record", RECORDED, ids=[record["name"] for record in RECORDED])
def test_recorded_event_is_read_as_the_client_sent_it(record: dict[str, Any]) -> None:
    event, expected = record["event"], record["expected"]
    scope, body = read_request(event)
    root_path = expected["root_path"]
    assert (scope["method"], scope["root_path"]) == (expected["method"], root_path)
    assert (scope["path"], scope["raw_path"].decode()) == (
        root_path + expected["path"],
        root_path + expected["raw_path"],
    )
    assert httpx.QueryParams(scope["query_string"].decode()).multi_items() == [
        tuple(each) for each in expected["query"]
    ]
    headers = [(name.lower(), value) for name, values in event["multiValueHeaders"].items() for value in values]
    length = [("content-length", str(len(body)))] if body else []
    assert [(name.decode(), value.decode()) for name, value in scope["headers"]] == headers + length
    assert (body.decode(), scope["client"]) == (expected["body"], ("203.0.113.7", 0))


@pytest.mark.parametrize("name", EVENTS)
def test_event_and_context_stand_in_the_scope(name: str) -> None:
    event = load_event(name)
    scope = read_scope(event)
    assert (scope["aws.event"], scope["aws.context"]) == (event, None)


@pytest.mark.parametrize(
    ("change", "root_path", "path"),
    [
        ({}, "/default", "/default/hello/"),
        ({"resource": "/", "path": "/", "requestContext": {"path": "/default"}}, "/default", "/default/"),
        ({"resource": "/", "path": "/", "requestContext": {"path": "/default/"}}, "/default", "/default/"),
        # A stage that is named like a route.
        ({"path": "/hello", "requestContext": {"path": "/hello/hello"}}, "/hello", "/hello/hello"),
        # Behind a custom domain, with a base path of one or two parts or with none.
        ({"path": "/v1/hello/", "requestContext": {"path": "/v1/hello/"}}, "/v1", "/v1/hello/"),
        ({"path": "/a/v1/hello", "requestContext": {"path": "/a/v1/hello"}}, "/a/v1", "/a/v1/hello"),
        ({"path": "/hello", "requestContext": {"path": "/hello"}}, "", "/hello"),
        ({"resource": "/", "path": "/v1", "pathParameters": None, "requestContext": {"path": "/v1"}}, "/v1", "/v1/"),
        ({"resource": "/items/{id}", "pathParameters": {"id": "a%20b"}, "path": "/v1/items/a%20b"}
         | {"requestContext": {"path": "/v1/items/a%20b"}}, "/v1", "/v1/items/a b"),
        ({"path": "/v1/a%2541", "pathParameters": {"proxy": "a%2541"}, "requestContext": {"path": "/v1/a%2541"}},
         "/v1", "/v1/a%41"),
        # Paths that do not fit each other, as a caller may write them.
        ({"path": "/other", "requestContext": {"path": "/default/nothing/"}}, "", "/other"),
        ({"path": "/v1/a", "requestContext": {"path": "/v1/a"}, "pathParameters": None}, "", "/v1/a"),
    ],
)  # fmt: skip
def test_rest_api_tells_the_root_path(change: dict[str, Any], root_path: str, path: str) -> None:
    scope = read_scope({**load_event("rest_api"), **change})
    assert (scope["root_path"], scope["path"]) == (root_path, path)


@pytest.mark.parametrize(
    ("route", "parameters", "domain", "stage", "raw_path", "root_path"),
    [
        ("$default", None, "a1b2c3d4e5", "$default", "/hello/", ""),
        ("$default", None, "a1b2c3d4e5", "test", "/test/hello/", "/test"),
        ("ANY /{proxy+}", {"proxy": "hello"}, "a1b2c3d4e5", "test", "/test/hello/", "/test"),
        ("GET /items/{id}", {"id": "a b"}, "api", "test", "/shop/items/a b", "/shop"),
        # At a custom domain a stage is not in the path, also one that is named like a route.
        ("$default", None, "api", "hello", "/hello/", ""),
        ("$default", None, "api", "$default", "/", ""),
        ("$default", None, "api", "$default", "//hello", ""),
        ("$default", None, None, "$default", "/hello/", ""),  # an emulator's event has no domain
        ("ANY /{proxy+}", {"proxy": "hello"}, "api", "hello", "/hello/", ""),
    ],
)
def test_http_api_tells_the_root_path(
    route: str, parameters: Any, domain: str | None, stage: str, raw_path: str, root_path: str
) -> None:
    event = load_event("http_api") | {"routeKey": route, "rawPath": raw_path, "pathParameters": parameters}
    event["requestContext"] |= {"stage": stage, "domainPrefix": domain}
    event["requestContext"]["http"]["path"] = raw_path.rstrip("/")
    scope = read_scope(event)
    assert (scope["root_path"], scope["path"]) == (root_path, raw_path)


@pytest.mark.parametrize(
    ("raw_path", "decoded", "path"),
    [
        ("/items/", "/items", "/items/"),
        ("/files/..%252F..%252Fx", "/files/..%2F..%2Fx", "/files/..%2F..%2Fx"),
        ("/files/..%2F..%2Fx", "/files/../../x", "/files/../../x"),
        ("/a%20b+c/", "/a b+c", "/a b+c/"),
    ],
)
def test_function_url_is_decoded_once_and_keeps_its_last_slash(raw_path: str, decoded: str, path: str) -> None:
    event = load_event("function_url") | {"rawPath": raw_path}
    event["requestContext"]["http"]["path"] = decoded
    scope = read_scope(event)
    assert (scope["path"], scope["raw_path"].decode()) == (path, raw_path)


@pytest.mark.parametrize("own", ["/default", "/default/", "/prod", "/api"])
@pytest.mark.parametrize("base_path", ["", "/shop"])
def test_application_may_have_a_root_path_of_its_own(own: str, base_path: str) -> None:
    app = FastAPI()
    app.root_path = own  # as FastAPI(root_path=…) does, which warns that it is deprecated

    @app.get("/hello")
    async def say_hello(request: FastApiRequest) -> str:
        return str(request.url_for("say_hello"))

    response = make_handler(app)(make_rest_event(Request("GET", "/hello"), base_path), None)
    assert (response["statusCode"], json.loads(response["body"])) == (
        200,
        f"http://api.example.com{own.rstrip('/')}/hello",
    )


def test_application_names_the_base_path_of_an_http_api_with_the_route_default() -> None:
    app = FastAPI()
    app.root_path = "/shop"
    app.get("/hello")(lambda: "hello")
    event = make_http_event(Request("GET", "/hello"), "/shop") | {"routeKey": "$default", "pathParameters": None}
    event["requestContext"]["domainPrefix"] = "api"
    assert make_handler(app)(event, None)["statusCode"] == 200


ALB, REST, FORMAT_2, GUIDE = (load_event(name) for name in ("alb", "rest_api", "function_url", "guide"))


@pytest.mark.parametrize(
    ("event", "forwarded", "client"),
    [
        (ALB, "203.0.113.9", ("203.0.113.9", 0)),
        (ALB, "10.9.9.9, 203.0.113.9", ("203.0.113.9", 0)),  # The caller sent the first one.
        (ALB, "203.0.113.9:51234", ("203.0.113.9", 0)),
        (ALB, "2001:db8::1", ("2001:db8::1", 0)),
        (ALB, "10.9.9.9,[2001:db8::1]:51234", ("2001:db8::1", 0)),
        (ALB, None, None),  # a health check
        # Other services name the client themselves.
        *((event, "10.9.9.9", ("203.0.113.7", 0)) for event in (FORMAT_2, REST)),
        (GUIDE, None, None),
    ],
)
def test_client_is_the_address_that_aws_saw(event: dict[str, Any], forwarded: str | None, client: Any) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {"host": "a"}
    assert read_scope(event | {"headers": headers})["client"] == client


@pytest.mark.parametrize(
    "headers",
    [
        *({"x-forwarded-port": port} for port in ("443,80", "", "x")),
        *({"host": host} for host in ("[::1]:3000", "a.com:", "a:b", "::1")),
        {"x-forwarded-proto": "https,http"},
    ],
)
def test_header_that_only_informs_refuses_no_request(headers: dict[str, str]) -> None:
    scope = read_scope(GUIDE | {"headers": headers})
    assert (scope["scheme"], scope["server"]) == ("https", ("localhost", 443))


def make_linking_app() -> FastAPI:
    app = FastAPI()

    @app.get("/hello/")
    async def link(request: FastApiRequest) -> str:
        return str(request.url_for("link"))

    return app


@pytest.mark.parametrize(
    ("event", "url"),
    [
        (GUIDE, "https://localhost/hello/"),
        (GUIDE | {"headers": {"Host": "a.example:8443"}}, "https://a.example:8443/hello/"),
        (GUIDE | {"requestContext": {"domainName": "a.example", "path": "/test/hello/"}}, "https://a.example/test/hello/"),
        (REST | {"headers": None, "multiValueHeaders": None},
         "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/default/hello/"),
    ],
)  # fmt: skip
def test_link_names_a_host_that_means_something(event: dict[str, Any], url: str) -> None:
    assert json.loads(make_handler(make_linking_app())(event, None)["body"]) == url


@pytest.mark.parametrize("service", SERVICES)
def test_headers_are_tuples_of_bytes(service: str) -> None:
    headers = read_scope(SERVICES[service][0](Request("PUT", "/a", (("X-A", "1"),), b"abc")))["headers"]
    assert {type(header) for header in headers} == {tuple}
    assert {(b"x-a", b"1"), (b"content-length", b"3")} <= set(headers)


def test_length_of_the_body_is_added_where_it_is_missing() -> None:
    body = base64.b64encode(b"\x00" * 1000).decode()
    for event in (REST, FORMAT_2, ALB):
        scope = read_scope(event | {"body": body, "isBase64Encoded": True})
        assert dict(scope["headers"])[b"content-length"] == b"1000"
    assert dict(read_scope(GUIDE | {"body": "größe"})["headers"])[b"content-length"] == b"7"
    assert b"content-length" not in dict(read_scope(REST)["headers"])


def test_header_that_stands_in_one_place_only_is_not_dropped() -> None:
    event = GUIDE | {"multiValueHeaders": {"A": ["1", "2"]}, "headers": {"A": "2", "B": "3"}}
    assert read_scope(event)["headers"] == [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]


def test_query_of_a_load_balancer_stays_as_the_client_sent_it() -> None:
    event = load_event("alb_multi_value") | {"multiValueQueryStringParameters": {"a": ["b%20c", "+"], "%C3%BC": ["1"]}}
    assert read_scope(event)["query_string"] == b"a=b%20c&a=+&%C3%BC=1"


@pytest.mark.parametrize("event", [REST, GUIDE])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_rest_event_may_have_a_version(event: dict[str, Any], version: str) -> None:
    assert read_scope(event | {"version": version})["path"].endswith("/hello/")


def test_caller_cannot_make_a_resource_large() -> None:
    event = REST | {"resource": "{a}" * 20_000, "path": "/q", "pathParameters": {"a": "b" * 100_000}}
    tracemalloc.start()
    try:
        assert read_scope(event | {"requestContext": {"path": "/q"}})["path"] == "/q"
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
