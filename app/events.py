"""The events that the handler accepts, and what is wrong with one that it does not.

Mangum trusts an event's shape, but through a non-proxy integration the caller writes the event: so what
Mangum reads is checked here first, and no more than that.
"""

import base64
from functools import cache
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

# A caller's own event may be 6 MB, and what Mangum makes of a path, a query or headers takes up to 180 times their
# size. Of what it reads only a body may be large: of the rest API Gateway and its like let through some 10 to 80 KB.
_MOST_BESIDES_BODY = 256 * 1024

_T = TypeVar("_T")
# To name each of three million wrong items took 3 GB and half a minute: one is enough.
_List = Annotated[list[_T], Field(fail_fast=True)]
_ByName = Annotated[dict[str, _T], Field(fail_fast=True)]


class _Event(TypedDict):
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool | None]
    queryStringParameters: NotRequired[_ByName[str] | None]


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
    multiValueQueryStringParameters: _ByName[_List[str]] | None
    requestContext: _RestContext
    headers: NotRequired[_ByName[str] | None]
    multiValueHeaders: NotRequired[_ByName[_List[str]] | None]


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
    headers: _ByName[str]
    rawQueryString: NotRequired[str]
    cookies: NotRequired[_List[str] | None]


class _LoadBalancerEvent(_Event):
    path: str
    httpMethod: str
    multiValueQueryStringParameters: NotRequired[_ByName[_List[str]] | None]


class AlbEvent(_LoadBalancerEvent):
    """An Application Load Balancer's.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
    """

    headers: _ByName[str]


class MultiValueAlbEvent(_LoadBalancerEvent):
    """The same, where the target group has multi-value headers enabled."""

    multiValueHeaders: _ByName[_List[str]]


def describe_problems(event: Any) -> str:
    """What keeps an event from being served, as `field: reason; …`; empty for one that can be."""
    try:
        read = _make_adapter(_choose_shape(event)).validate_python(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'event'}: {p['msg']}" for p in problems)
    size = len(str({**read, "body": None}))
    if size > _MOST_BESIDES_BODY:
        return f"event: besides its body it should have at most {_MOST_BESIDES_BODY} characters, and has {size}"
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
