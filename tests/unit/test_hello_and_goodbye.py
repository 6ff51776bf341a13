"""The two routes of the guide, by name. Delete this file with them."""

import pytest
from helpers import call

from app.app import app


@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize(("route", "message"), [("/hello", "Hello, World"), ("/goodbye", "Goodbye, World")])
def test_route_answers_with_and_without_slash(route: str, slash: str, message: str) -> None:
    response = call(app, "GET", route + slash)
    assert (response.status_code, response.json()) == (200, {"message": message})


def test_openapi_has_each_path_once_with_its_answer() -> None:
    schema = app.openapi()
    message = {"$ref": "#/components/schemas/Message"}
    for path in ("/hello", "/goodbye"):
        answer = schema["paths"][f"{path}/"]["get"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"] == message
        assert path not in schema["paths"]
    assert schema["components"]["schemas"]["Message"]["required"] == ["message"]
