"""The two routes of the guide, by name."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis

from app.app import app

API = schemathesis.openapi.from_asgi("/openapi.json", app).include(path=["/hello/", "/goodbye/"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/hello/", "Hello, World"),
        ("/hello", "Hello, World"),
        ("/goodbye/", "Goodbye, World"),
        ("/goodbye", "Goodbye, World"),
    ],
)
def test_route_answers_with_and_without_slash(call: Callable[..., httpx.Response], path: str, message: str) -> None:
    response = call("GET", path)
    assert (response.status_code, response.json()) == (200, {"message": message})


def test_openapi_has_each_path_once_with_its_answer() -> None:
    schema = app.openapi()
    message = {"$ref": "#/components/schemas/Message"}
    for path in ("/hello", "/goodbye"):
        answer = schema["paths"][f"{path}/"]["get"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"] == message
        assert path not in schema["paths"]
    assert schema["components"]["schemas"]["Message"]["required"] == ["message"]


@API.parametrize()
def test_route_passes_every_check_of_schemathesis(case: schemathesis.Case[Any]) -> None:
    """Another method, for one, is 405, and `Allow` names the right one."""
    case.call_and_validate()
