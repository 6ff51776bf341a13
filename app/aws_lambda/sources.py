"""The services that send events. Each class reads one kind as Mangum does, with the right paths and headers."""

import re
from functools import cached_property
from urllib.parse import quote, unquote

from mangum.handlers import ALB, APIGateway, HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, LambdaEvent, Scope

from app.aws_lambda.events import AlbEvent, HttpEvent, RestEvent

# Parts of content types. Mangum encodes a body of any other type as base64.
TEXT_TYPES = [
    *("text/", "application/json", "+json", "application/xml", "+xml", "application/javascript"),
    *("application/yaml", "application/x-ndjson", "application/x-www-form-urlencoded"),
]


class RestApi(APIGateway):
    shape: type = RestEvent

    @cached_property
    def scope(self) -> Scope:
        scope = super().scope
        if lists := self.event.get("multiValueHeaders"):  # Mangum joins the values of one name
            scope["headers"] = [[name.lower().encode(), each.encode()] for name in lists for each in lists[name]]
        return _set_paths(scope, *self._split_path())

    def _split_path(self) -> tuple[str, str]:
        """The stage, or the base path of a custom domain, and the application's path behind it."""
        path, public_path = self.event["path"], self.event["requestContext"].get("path")
        if not public_path:  # the guide's event has none
            return "", path
        if path != public_path:  # only the public path has the stage
            return _remove_end(public_path, path), path
        # Behind a custom domain both begin with the base path. The resource does not.
        parameters = self.event.get("pathParameters") or {}
        resource = self.event["resource"]
        # count: a caller could write an event with thousands of long parameters.
        own_path = re.sub(r"{([^{}+]*)\+?}", lambda name: parameters.get(name[1], name[0]), resource, count=10)
        base_path = _remove_end(path, own_path) or _remove_end(unquote(path), own_path)
        return base_path, path.removeprefix(base_path)

    @property
    def caller(self) -> str | None:
        """The ARN of the caller, from the proxy integration. Through POST the API's validator refuses such an event."""
        identity = self.event["requestContext"].get("identity", {})
        return identity.get("userArn") if "pathParameters" in self.event else None


class HttpApi(HTTPGateway):
    shape: type = HttpEvent
    caller = None

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:
        return super().infer(event, context, config) and event["version"] == "2.0"

    @cached_property
    def scope(self) -> Scope:
        context = self.event["requestContext"]
        path, stage = context["http"]["path"], f"/{context.get('stage')}"
        root = stage if f"{path}/".startswith(f"{stage}/") else ""
        return _set_paths(super().scope, root, path.removeprefix(root))


class LoadBalancer(ALB):
    shape: type = AlbEvent
    caller = None

    @cached_property
    def scope(self) -> Scope:
        return _set_paths(super().scope, "", self.event["path"])


def _remove_end(path: str, end: str) -> str:
    """The path without this end, or nothing if it ends otherwise."""
    path, end = path.rstrip("/"), end.rstrip("/")
    return path.removesuffix(end) if path.endswith(end) else ""


def _set_paths(scope: Scope, root: str, path: str) -> Scope:
    """As an ASGI server does: https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope"""
    whole = root + (path or "/")
    scope["root_path"], scope["path"] = root, unquote(whole)
    scope["raw_path"] = quote(whole, safe="/%:@!$&'()*+,;=~").encode()
    return scope
