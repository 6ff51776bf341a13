"""The app as an HTTP client sees it."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from app.app import app

API = schemathesis.openapi.from_asgi("/openapi.json", app)
Call = Callable[..., httpx.Response]
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@API.parametrize()
def test_app_answers_as_openapi_says(case: schemathesis.Case[Any]) -> None:
    """By the checks that an ordinary FastAPI application passes: pydantic takes "1" for a number, for one."""
    case.call_and_validate(checks=[not_a_server_error, response_schema_conformance])


@pytest.mark.parametrize("accepted", ["a", "A-z.0_9", "x" * 128])
def test_correlation_id_is_the_callers(call: Call, accepted: str) -> None:
    response = call("GET", "/hello/", headers={"X-Correlation-ID": accepted})
    assert response.headers.get_list("x-correlation-id") == [accepted]


@pytest.mark.parametrize("refused", ["", "x" * 129, "a b", "a\tb", "ä", "a,b", "<script>", "a%0ab"])
def test_correlation_id_is_new_where_the_callers_is_not_accepted(call: Call, refused: str) -> None:
    response = call("GET", "/hello/", headers={"x-correlation-id": refused.encode()})
    assert UUID4.fullmatch(response.headers["x-correlation-id"])


def test_correlation_id_differs_from_request_to_request(call: Call) -> None:
    assert len({call("GET", "/hello/").headers["x-correlation-id"] for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        ("GET", "/nothing", 404, {"detail": "Not Found"}),
        ("GET", "/hello//", 404, {"detail": "Not Found"}),
        ("POST", "/hello/", 405, {"detail": "Method Not Allowed"}),
    ],
)
def test_refusal_carries_correlation_id(call: Call, method: str, path: str, status: int, answer: object) -> None:
    response = call(method, path, headers={"x-correlation-id": "mine"})
    assert (response.status_code, response.json(), response.headers["x-correlation-id"]) == (status, answer, "mine")


def test_invalid_parameter_carries_correlation_id(call: Call, own_routes: None) -> None:
    @app.get("/double")
    async def double(number: int) -> int:
        return 2 * number

    response = call("GET", "/double?number=two", headers={"x-correlation-id": "mine"})
    assert (response.status_code, response.headers["x-correlation-id"]) == (422, "mine")


def test_unhandled_exception_answers_500_with_correlation_id(call: Call, failing_route: str) -> None:
    response = call("GET", failing_route, headers={"x-correlation-id": "mine"})
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert response.headers["x-correlation-id"] == "mine"
