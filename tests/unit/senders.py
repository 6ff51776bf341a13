"""Sends one request to an application in each way: over uvicorn, and as the event of each service to the handler."""

import base64
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import uvicorn
from helpers import load_event

STAGE = "/default"
HOST = "api.example.com"
# A gateway adds these headers to a request. The tests send them to uvicorn, too.
GATEWAY_HEADERS = [
    ("Host", HOST),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "80"),
    ("X-Correlation-Id", "mine"),
]


class Request(NamedTuple):
    method: str
    target: str  # the path as it is sent, with its query
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        length = [("Content-Length", str(len(self.body)))] if self.body else []
        return [*GATEWAY_HEADERS, *length, *self.headers]


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def running_uvicorn(app: Any, root_path: str) -> Iterator[Callable[[Request], Response]]:
    """The application on a real server; gives the function that sends it a request."""
    config = uvicorn.Config(app, port=0, root_path=root_path, log_config=None, server_header=False, date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]

    def send(request: Request) -> Response:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.all_headers:
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            headers = [(name.lower(), value) for name, value in response.getheaders()]
            return Response(response.status, headers, response.read())

    try:
        yield send
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def collect(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The values of each name, in their order."""
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    return lists


def make_rest_event(request: Request, base_path: str = "") -> dict[str, Any]:
    """The proxy event of a REST API at its stage, or at a custom domain with a base path. Paths stay encoded."""
    path, _, query = request.target.partition("?")
    queries = collect(parse_qsl(query, keep_blank_values=True))
    # A REST API hands on no length, and encodes every body.
    headers = collect([(name, value) for name, value in request.all_headers if name != "Content-Length"])
    event = load_event("rest_api")
    event["requestContext"]["path"] = (base_path or STAGE) + path
    proxy = path.removeprefix("/").removesuffix("/")
    return event | {
        "resource": "/{proxy+}" if proxy else "/",
        "pathParameters": {"proxy": proxy} if proxy else None,
        "path": base_path + path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in queries.items()} or None,
        "multiValueQueryStringParameters": queries or None,
        "body": base64.b64encode(request.body).decode() or None,
        "isBase64Encoded": bool(request.body),
    }


def make_format_2_event(request: Request, name: str) -> dict[str, Any]:
    """http.path is decoded, and loses its last slash."""
    path, _, query = request.target.partition("?")
    headers = collect([(name.lower(), value) for name, value in request.all_headers])
    event = load_event(name)
    event["requestContext"]["http"] |= {"method": request.method, "path": unquote(path).rstrip("/") or "/"}
    cookies = headers.pop("cookie", None)
    return event | {
        "rawPath": path,
        "rawQueryString": query,
        "cookies": "; ".join(cookies).split("; ") if cookies else None,
        "headers": {name: ",".join(values) for name, values in headers.items()},
        "body": base64.b64encode(request.body).decode(),
        "isBase64Encoded": True,
    }


def make_http_event(request: Request, base_path: str = "") -> dict[str, Any]:
    """An HTTP API decodes rawPath as well. At a custom domain the base path stands in front."""
    event = make_format_2_event(request, "http_api")
    proxy = unquote(event["rawPath"]).removeprefix("/").removesuffix("/")
    event |= {"routeKey": "ANY /{proxy+}", "pathParameters": {"proxy": proxy}} if proxy else {"routeKey": "ANY /"}
    event["rawPath"] = base_path + unquote(event["rawPath"])
    event["requestContext"]["http"]["path"] = base_path + event["requestContext"]["http"]["path"]
    return event


def make_function_url_event(request: Request) -> dict[str, Any]:
    return make_format_2_event(request, "function_url")


def make_alb_event(request: Request, name: str = "alb") -> dict[str, Any]:
    path, _, query = request.target.partition("?")
    queries = collect([tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair])  # type: ignore[misc]
    headers = collect([(name.lower(), value) for name, value in request.all_headers])
    event = load_event(name) | {"httpMethod": request.method, "path": path}
    event |= {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}
    if "multiValueHeaders" in event:
        return event | {"multiValueHeaders": headers, "multiValueQueryStringParameters": queries}
    event["headers"] = {name: values[-1] for name, values in headers.items()}
    return event | {"queryStringParameters": {name: values[-1] for name, values in queries.items()}}


def read_answer(answer: dict[str, Any]) -> Response:
    """The response that a client gets from the handler's answer, behind any of the services."""
    lists = answer.get("multiValueHeaders") or {}
    headers = [(name, value) for name, value in (answer.get("headers") or {}).items() if name not in lists]
    headers += [(name, value) for name, values in lists.items() for value in values]
    headers += [("set-cookie", cookie) for cookie in answer.get("cookies", ())]
    body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    return Response(answer["statusCode"], [(name.lower(), value) for name, value in headers], body)


# How each service makes an event of a request, and the root path that its clients see.
SERVICES: dict[str, tuple[Callable[[Request], dict[str, Any]], str]] = {
    "REST API": (make_rest_event, STAGE),
    "REST API with a base path": (partial(make_rest_event, base_path="/shop/v1"), "/shop/v1"),
    "HTTP API": (make_http_event, ""),
    "HTTP API with a base path": (partial(make_http_event, base_path="/shop/v1"), "/shop/v1"),
    "function URL": (make_function_url_event, ""),
    "load balancer": (make_alb_event, ""),
    "load balancer with lists": (partial(make_alb_event, name="alb_multi_value"), ""),
}
