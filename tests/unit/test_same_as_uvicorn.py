"""An application answers behind Lambda as it does on uvicorn. aws/behind_lambda.md lists the differences, too."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from behind_lambda import make_handler
from every_feature import PNG, make_app, make_app_with_own_500
from senders import SERVICES, Request, Response, read_answer, running_uvicorn

from app.aws_lambda import RequestLog

JSON = (("Content-Type", "application/json"),)
BOUNDARY = "a-boundary"
FORM = (("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),)
NOTE = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nmine\r\n'
FILE = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
)
UPLOAD = f"{NOTE}{FILE}".encode() + PNG + f"\r\n--{BOUNDARY}--\r\n".encode()

REQUESTS = {
    "the root, its URL and the URL of a route": Request("GET", "/"),
    "an OpenAPI document": Request("GET", "/openapi.json"),
    "the interactive documentation": Request("GET", "/docs"),
    "the other documentation": Request("GET", "/redoc"),
    "the state of the lifespan and a dependency with yield": Request("GET", "/state"),
    "a body with a model": Request("POST", "/items/?notify=true", JSON, b'{"name": "x"}'),
    "a body that does not fit its model": Request("POST", "/items/", JSON, b'{"name": 1}'),
    "a body that is no JSON": Request("POST", "/items/", JSON, b"{"),
    "a query with repeated, empty and encoded values": Request("GET", "/items/a?b=1&b=2&c=&d=%C3%BC%20%26"),
    "a query with repeated values apart": Request("GET", "/items/a?b=1&c=2&b=3"),
    "a header in Latin-1": Request("GET", "/latin-header"),
    "an encoded slash in the path": Request("GET", "/items/a%2Fb"),
    "a space and UTF-8 in the path": Request("GET", "/items/a%20%C3%BC"),
    "a percent sign in the path": Request("GET", "/items/100%25"),
    "a path with a slash at its end": Request("GET", "/items/a/"),
    "a PUT with bytes": Request("PUT", "/echo", (), bytes(range(256))),
    "a PATCH": Request("PATCH", "/echo", (), b"a"),
    "a DELETE": Request("DELETE", "/echo"),
    "an OPTIONS": Request("OPTIONS", "/echo"),
    "a HEAD": Request("HEAD", "/echo"),
    "a repeated request header": Request("GET", "/echo", (("X-A", "1"), ("X-A", "2"))),
    "cookies": Request("GET", "/cookies", (("Cookie", "a=1; b=2"),)),
    "a missing cookie": Request("GET", "/cookies"),
    "a repeated response header": Request("GET", "/links"),
    "an image": Request("GET", "/image"),
    "a body that is compressed already": Request("GET", "/gzip"),
    "a body that middleware compresses": Request("GET", "/sub/hello", (("Accept-Encoding", "gzip"),)),
    "a sub-application": Request("GET", "/sub/hello"),
    "the documentation of a sub-application": Request("GET", "/sub/docs"),
    "a bare ASGI function that is mounted": Request("GET", "/bare/path"),
    "text in Latin-1": Request("GET", "/latin"),
    "a stream": Request("GET", "/stream"),
    "an upload": Request("POST", "/files", FORM, UPLOAD),
    "an upload without its file": Request("POST", "/files", FORM, f"--{BOUNDARY}--\r\n".encode()),
    "a background task": Request("GET", "/background"),
    "a redirect": Request("GET", "/redirect"),
    "a redirect for a missing slash": Request("POST", "/items", JSON, b"{}"),
    "an HTTPException": Request("GET", "/teapot"),
    "an exception with a handler": Request("GET", "/stock"),
    "an exception without a handler": Request("GET", "/crash"),
    "an unknown path": Request("GET", "/nothing"),
    "a method that is not allowed": Request("DELETE", "/state"),
    **{
        f"text of the type {media_type}": Request("GET", f"/types?media_type={media_type.replace('+', '%2B')}")
        for media_type in ("application/problem%2Bjson", "application/yaml", "application/x-ndjson", "image/svg%2Bxml")
    },
}

HTTP_API = ("HTTP API", "HTTP API with a base path")
FORMAT_2 = (*HTTP_API, "function URL")
REGROUPED = ("REST API", "REST API with a base path", "load balancer", "load balancer with lists")
# Each difference, with its reason, and the services behind which its requests get another answer.
DIFFERENCES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "Repeated headers and query values may be joined or lost": (
        "Format 2.0 joins headers of one name. A load balancer without multi-value headers sends the last value only",
        {
            "a repeated request header": (*FORMAT_2, "load balancer"),
            "a repeated response header": FORMAT_2,
            "a query with repeated, empty and encoded values": ("load balancer",),
        },
    ),
    "Query values may change their order": (
        "REST APIs and load balancers group them by name: `a=1&b=2&a=3` arrives as `a=1&a=3&b=2`",
        {"a query with repeated values apart": REGROUPED},
    ),
    "HTTP APIs decode the path": (
        "`%2F` arrives as `/`, and `raw_path` is encoded again",
        {"an encoded slash in the path": HTTP_API},
    ),
    "An answer without a content type gets one": (
        "For format 2.0, Mangum makes it `application/json`",
        dict.fromkeys(
            (
                "a repeated response header",
                "a redirect",
                "a redirect for a missing slash",
                "a bare ASGI function that is mounted",
            ),
            FORMAT_2,
        ),
    ),
}


def normalize(response: Response, method: str) -> Response:
    """Without what belongs to the connection to a server, and without a body that no client reads."""
    connection = {"transfer-encoding", "connection", "date", "server"}
    headers = sorted((name, value) for name, value in response.headers if name not in connection)
    return Response(response.status, headers, b"" if method == "HEAD" else response.body)


@pytest.fixture(scope="module", params=[make_app, make_app_with_own_500])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def uvicorns(make: Any) -> Iterator[dict[str, Callable[[Request], Response]]]:
    """The application on uvicorn, by root path."""
    with ExitStack() as stack:
        servers = {}
        for root_path in {root_path for _, root_path in SERVICES.values()}:
            app = make()
            app.middleware_stack = RequestLog(app.build_middleware_stack())
            servers[root_path] = stack.enter_context(running_uvicorn(app, root_path))
        yield servers


@pytest.fixture(scope="module")
def handler(make: Any) -> Any:
    return make_handler(make())


@pytest.mark.parametrize("name", REQUESTS)
def test_answer_is_the_same(uvicorns: Any, handler: Any, name: str) -> None:
    request = REQUESTS[name]
    expected = {root_path: normalize(send(request), request.method) for root_path, send in uvicorns.items()}
    for service, (make_event, root_path) in SERVICES.items():
        answer = normalize(read_answer(handler(make_event(request), None)), request.method)
        differs = any(service in requests.get(name, ()) for _, requests in DIFFERENCES.values())
        assert (answer == expected[root_path]) != differs, (service, answer, expected[root_path])
