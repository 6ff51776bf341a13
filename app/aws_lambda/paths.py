"""Splits the path of an event into the root path and the application's own path. Both are percent-encoded.

The root path is the stage, or the base path of a custom domain.
"""

import re
from typing import Any
from urllib.parse import quote, unquote

SAFE = "/:@!$&'()*+,;=~"  # Besides letters and digits, a path has these as they are.


def split_rest_path(event: dict[str, Any]) -> tuple[str, str]:
    path, public_path = event["path"], event["requestContext"].get("path")
    if not public_path:  # the guide's event has none
        return "", path
    root_path = remove_resource(public_path, event["resource"], event)
    # With a custom domain, both paths begin with the base path. Otherwise only the public path has the stage.
    return root_path, path.removeprefix(root_path) if path == public_path else path


def split_http_path(event: dict[str, Any]) -> tuple[str, str]:
    """The same for format 2.0."""
    context, path = event["requestContext"], event["rawPath"]
    # http.path is decoded, without its last slash. rawPath is decoded as well, except in a function URL's event.
    if path.rstrip("/") == context["http"]["path"].rstrip("/"):
        path = quote(path, SAFE)
    _, _, resource = event["routeKey"].partition(" ")
    if resource:
        root_path = quote(remove_resource(unquote(path), resource, event), SAFE)
    else:  # The route $default has no resource. The path has a stage at the API's own domain only.
        stage, own_domain = f"/{context['stage']}", context.get("domainPrefix") == context["apiId"]
        root_path = stage if own_domain and f"{path}/".startswith(f"{stage}/") else ""
    return root_path, path.removeprefix(root_path)


def remove_resource(path: str, resource: str, event: dict[str, Any]) -> str:
    """The path in front of a resource such as /items/{id} or /{proxy+}. Empty if the path does not end with it."""
    parameters = event.get("pathParameters") or {}
    # count: a caller could write an event with thousands of long parameters.
    end = re.sub(r"{([^{}+]*)\+?}", lambda name: parameters.get(name[1], name[0]), resource, count=10).rstrip("/")
    path = path.rstrip("/")
    return path.removesuffix(end).rstrip("/") if path.endswith(end) else ""
