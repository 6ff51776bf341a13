"""The events that the handler accepts, and what is wrong with one that it does not.

Mangum trusts an event, but through a non-proxy integration the caller writes it. So each field that is read is checked.
"""

import binascii
from functools import cache
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

# Mangum needs memory of up to 180 times the size of a path, a query or headers. API Gateway and load balancers let
# through 10 to 80 KB of these, Lambda lets through 6 MB.
_MOST_BESIDES_BODY = 256 * 1024

_T = TypeVar("_T")
# fail_fast: to name each of three million wrong items took 3 GB and half a minute.
_List = Annotated[list[_T], Field(fail_fast=True)]
_ByName = Annotated[dict[str, _T], Field(fail_fast=True)]


class _Event(TypedDict):
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool | None]
    queryStringParameters: NotRequired[_ByName[str] | None]


_Identity = TypedDict("_Identity", {"sourceIp": NotRequired[str | None], "userArn": NotRequired[str | None]})
_RestContext = TypedDict("_RestContext", {"identity": NotRequired[_Identity], "path": NotRequired[str | None]})
_Http = TypedDict("_Http", {"method": str, "path": str, "sourceIp": str})
_HttpContext = TypedDict("_HttpContext", {"http": _Http, "stage": NotRequired[str]})


class RestEvent(_Event):
    """A REST API sends it: https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html"""

    resource: str
    path: str
    httpMethod: str
    multiValueQueryStringParameters: _ByName[_List[str]] | None
    requestContext: _RestContext
    headers: NotRequired[_ByName[str] | None]
    multiValueHeaders: NotRequired[_ByName[_List[str]] | None]
    pathParameters: NotRequired[_ByName[str] | None]


class HttpEvent(_Event):
    """Format 2.0: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""

    requestContext: _HttpContext
    headers: _ByName[str]
    rawQueryString: NotRequired[str]
    cookies: NotRequired[_List[str] | None]


class AlbEvent(_Event):
    """A load balancer sends it: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html"""

    path: str
    httpMethod: str
    multiValueQueryStringParameters: NotRequired[_ByName[_List[str]] | None]
    headers: NotRequired[_ByName[str]]  # or multiValueHeaders, as the target group says
    multiValueHeaders: NotRequired[_ByName[_List[str]]]


# Built on first use: a function usually receives one kind of event.
_make_adapter = cache(TypeAdapter)


def describe_problems(event: Any, shape: type) -> str:
    """Why an event cannot be served as one of this shape, as `field: reason; …`. Empty if it can."""
    try:
        read: dict[str, Any] = _make_adapter(shape).validate_python(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'event'}: {p['msg']}" for p in problems)
    size = len(str({**read, "body": None}))
    if size > _MOST_BESIDES_BODY:
        return f"event: besides its body it should have at most {_MOST_BESIDES_BODY} characters, and has {size}"
    return ""


def describe_unreadable(error: ValueError | KeyError) -> str:
    """Why Mangum could not read an event of the right shape."""
    if isinstance(error, KeyError):
        return f"{error.args[0]}: Field required"
    if isinstance(error, UnicodeEncodeError):
        return "headers, query or body: a character is half of a surrogate pair"
    if isinstance(error, binascii.Error) or "ASCII" in str(error):
        return "body: Input should be base64, as isBase64Encoded says"
    return "headers: host or x-forwarded-port should have a port number"
