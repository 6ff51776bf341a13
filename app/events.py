"""The events that the handler accepts, and what is wrong with one that it does not.

Mangum trusts an event's shape, but through a non-proxy integration the caller writes the event: so what
Mangum reads is checked here first, and no more than that.
"""

import base64
from functools import cache
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict


class _Event(TypedDict):
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool | None]
    queryStringParameters: NotRequired[dict[str, str] | None]


class _Identity(TypedDict):
    sourceIp: NotRequired[str | None]


class _RestContext(TypedDict):
    identity: NotRequired[_Identity]


class RestEvent(_Event):
    """A REST API's proxy event, or an HTTP API's in payload format 1.0; the guide sends just these five.

    https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html
    """

    resource: str
    path: str
    httpMethod: str
    multiValueQueryStringParameters: dict[str, list[str]] | None
    requestContext: _RestContext
    headers: NotRequired[dict[str, str] | None]
    multiValueHeaders: NotRequired[dict[str, list[str]] | None]


class _Http(TypedDict):
    method: str
    path: str
    sourceIp: str


class _HttpContext(TypedDict):
    http: _Http


class HttpEvent(_Event):
    """Payload format 2.0: an HTTP API or a function URL.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """

    requestContext: _HttpContext
    headers: dict[str, str]
    rawQueryString: NotRequired[str]
    cookies: NotRequired[list[str] | None]


class _LoadBalancerEvent(_Event):
    path: str
    httpMethod: str
    multiValueQueryStringParameters: NotRequired[dict[str, list[str]] | None]


class AlbEvent(_LoadBalancerEvent):
    """An Application Load Balancer's.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
    """

    headers: dict[str, str]


class MultiValueAlbEvent(_LoadBalancerEvent):
    """The same, where the target group has multi-value headers enabled."""

    multiValueHeaders: dict[str, list[str]]


def describe_problems(event: Any) -> str:
    """What keeps an event from being served, as `field: reason; …`; empty for one that can be."""
    try:
        _make_adapter(_choose_shape(event)).validate_python(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'event'}: {p['msg']}" for p in problems)
    return ""


def describe_unreadable(event: dict[str, Any], error: ValueError) -> str:
    """The same for what only shows when Mangum reads an event of the right shape."""
    if isinstance(error, UnicodeEncodeError):
        return "headers, query or body: a character is half of a surrogate pair"
    if event.get("isBase64Encoded"):
        try:
            base64.b64decode(event.get("body") or "")
        except ValueError:
            return "body: Input should be base64, as isBase64Encoded says"
    return "headers: host or x-forwarded-port should have a port number"


def is_multi_value_alb(event: Any) -> bool:
    return isinstance(event, dict) and "multiValueHeaders" in event and _is_alb(event)


def _is_alb(event: dict[str, Any]) -> bool:
    context = event.get("requestContext")
    return isinstance(context, dict) and "elb" in context


def _choose_shape(event: Any) -> type:
    """The same choice as Mangum makes, with the guide's event for what is like none."""
    if isinstance(event, dict) and "resource" not in event:
        if _is_alb(event):
            return MultiValueAlbEvent if "multiValueHeaders" in event else AlbEvent
        if event.get("version") == "2.0":
            return HttpEvent
    return RestEvent


@cache
def _make_adapter(shape: type) -> TypeAdapter[Any]:
    """Made at the first event of its kind: a function gets one kind."""
    return TypeAdapter(shape)
