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
        lists = self.event.get("multiValueHeaders") or {}
        if any(len(values) > 1 for values in lists.values()):  # Mangum joins them
            headers = {name.lower(): [value] for name, value in (self.event.get("headers") or {}).items()}
            headers |= {name.lower(): values for name, values in lists.items()}
            scope["headers"] = [[name.encode(), value.encode()] for name in headers for value in headers[name]]
        return _set_paths(scope, *self._split_path())

    def _split_path(self) -> tuple[str, str]:
        """The stage, or the base path of a custom domain, and the application's path behind it."""
        path, public_path = self.event["path"], self.event["requestContext"].get("path")
        if not public_path:  # the guide's event has none
            return "", path
        own_path = path  # without the stage, which only the public path has
        if path == public_path:  # with the base path, which the resource and its parameters lack
            parameters = self.event.get("pathParameters") or {}
            own_path = re.sub(r"{([^{}+]*)\+?}", lambda name: parameters.get(name[1], name[0]), self.event["resource"])
        whole, end = unquote(public_path).rstrip("/"), unquote(own_path).rstrip("/")
        root = whole.removesuffix(end) if whole.endswith(end) else ""
        return root, path.removeprefix(root) if path == public_path else path

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


def _set_paths(scope: Scope, root: str, path: str) -> Scope:
    """As an ASGI server does: https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope"""
    whole = root + (path or "/")
    scope["root_path"], scope["path"] = root, unquote(whole)
    scope["raw_path"] = quote(whole, safe="/%:@!$&'()*+,;=~").encode()
    return scope
