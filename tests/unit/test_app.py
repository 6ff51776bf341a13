"""RequestLog around an application, as an HTTP client sees it."""

import re

import pytest
from fastapi import FastAPI
from helpers import call

from app.aws_lambda import RequestLog

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/double")
    async def double(number: int) -> int:
        return 2 * number

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("hunter2")

    app.middleware_stack = RequestLog(app.build_middleware_stack())
    return app


@pytest.mark.parametrize("accepted", ["a", "A-z.0_9", "x" * 128])
def test_correlation_id_is_the_callers(accepted: str) -> None:
    response = call(make_app(), "GET", "/double?number=1", headers={"X-Correlation-ID": accepted})
    assert response.headers.get_list("x-correlation-id") == [accepted]


@pytest.mark.parametrize("refused", ["", "x" * 129, "a b", "a\tb", "ä", "a,b", "<script>", "a%0ab"])
def test_correlation_id_is_new_where_the_callers_is_not_accepted(refused: str) -> None:
    response = call(make_app(), "GET", "/double?number=1", headers={"x-correlation-id": refused.encode()})
    assert UUID4.fullmatch(response.headers["x-correlation-id"])


def test_correlation_id_differs_from_request_to_request() -> None:
    app = make_app()
    assert len({call(app, "GET", "/nothing").headers["x-correlation-id"] for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        ("GET", "/nothing", 404, '{"detail":"Not Found"}'),
        ("POST", "/double", 405, '{"detail":"Method Not Allowed"}'),
        ("GET", "/double?number=two", 422, "unable to parse string as an integer"),
        ("GET", "/fail", 500, "Internal Server Error"),
    ],
)
def test_refusal_carries_correlation_id(method: str, path: str, status: int, answer: str) -> None:
    response = call(make_app(), method, path, headers={"x-correlation-id": "mine"})
    assert (response.status_code, response.headers["x-correlation-id"]) == (status, "mine")
    assert answer in response.text
