"""The two routes of the guide, by name. Delete this file with them."""

import pytest
from helpers import call
from pictures import DOCS, read_picture

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


def test_picture_of_the_page_docs_shows_the_routes() -> None:
    """Each route in it exists. A new route needs no new picture. `make pictures` draws one."""
    document = app.openapi()
    operations = [(path, *each) for path, methods in document["paths"].items() for each in methods.items()]
    routes = [(method.upper(), path, each["summary"]) for path, method, each in operations]
    shown = read_picture(DOCS)
    assert shown[0] == document["info"]["title"]
    lines = shown[shown.index("default") + 1 : shown.index("Schemas")]
    shown_routes = list(zip(lines[::3], lines[1::3], lines[2::3], strict=True))
    assert shown_routes
    assert [route for route in shown_routes if route not in routes] == []
