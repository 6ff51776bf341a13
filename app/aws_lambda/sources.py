"""The services that send events. Each class reads a request. Its parent, a class of Mangum, writes the answer."""

from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote, urlencode

from mangum.handlers import ALB, APIGateway, HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, LambdaEvent, Scope

from app.aws_lambda.paths import SAFE, split_http_path, split_rest_path

# Parts of content types. Mangum encodes a body of any other type as base64.
TEXT_TYPES = [
    *("text/", "application/json", "+json", "application/xml", "+xml", "application/javascript"),
    *("application/yaml", "application/x-ndjson", "application/x-www-form-urlencoded"),
]
Pairs = list[tuple[str, str]]


class RestApi(APIGateway):
    @cached_property
    def body(self) -> bytes:
        return super().body

    @cached_property
    def scope(self) -> Scope:
        event, headers = self.event, read_pairs(self.event, "Headers")
        query = urlencode(read_pairs(event, "QueryStringParameters"))
        client = event["requestContext"].get("identity", {}).get("sourceIp")
        return make_scope(self, event["httpMethod"], split_rest_path(event), query, headers, client)


class HttpApi(HTTPGateway):
    """Format 2.0. Function URLs send it as well."""

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:
        return super().infer(event, context, config) and event["version"] == "2.0"

    @cached_property
    def scope(self) -> Scope:
        event, http = self.event, self.event["requestContext"]["http"]
        headers = list(event["headers"].items())
        if event.get("cookies"):
            headers.append(("cookie", "; ".join(event["cookies"])))
        path = split_http_path(event)
        return make_scope(self, http["method"], path, event["rawQueryString"], headers, http["sourceIp"])


class LoadBalancer(ALB):
    @cached_property
    def scope(self) -> Scope:
        event, headers = self.event, read_pairs(self.event, "Headers")
        # The load balancer does not decode the query.
        query = "&".join(f"{name}={value}" for name, value in read_pairs(event, "QueryStringParameters"))
        # It appends its client's address, perhaps with a port. A health check has none.
        client = dict(headers).get("x-forwarded-for", "").rpartition(",")[2]
        if client.count(":") == 1 or "]" in client:
            client = client.rpartition(":")[0]
        return make_scope(self, event["httpMethod"], ("", event["path"]), query, headers, client.strip(" []"))


def read_pairs(event: LambdaEvent, kind: str) -> Pairs:
    """Every value of every header or query parameter. Some events have a list for each name, some have one value."""
    lists, singles = event.get(f"multiValue{kind}") or {}, event.get(kind[0].lower() + kind[1:]) or {}
    pairs = [(name, value) for name, values in lists.items() for value in values]
    return pairs + [(name, value) for name, value in singles.items() if name not in lists]


def make_scope(
    source: Any, method: str, split_path: tuple[str, str], query: str, pairs: Pairs, client: str | None
) -> Scope:
    """https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope"""
    headers = [(name.lower().encode(), value.encode()) for name, value in pairs]
    by_name = dict(headers)
    if b"content-length" not in by_name and source.event.get("body"):  # REST APIs leave it out, and WSGI needs it
        headers.append((b"content-length", b"%d" % len(source.body)))
    host = source.event["requestContext"].get("domainName")
    if b"host" not in by_name and host:
        headers.append((b"host", host.encode()))
    scheme, port = ("http", 80) if by_name.get(b"x-forwarded-proto") == b"http" else ("https", 443)
    root_path, path = (quote(each, f"{SAFE}%") for each in split_path)
    path = root_path + (path or "/")
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.0"}, "http_version": "1.1"}
    scope |= {"server": (host or "localhost", port), "client": (client, 0) if client else None}
    scope |= {"method": method.upper(), "scheme": scheme}
    scope |= {"root_path": unquote(root_path), "path": unquote(path), "raw_path": path.encode()}
    scope |= {"query_string": query.encode(), "headers": headers}
    return scope | {"aws.event": source.event, "aws.context": source.context}
