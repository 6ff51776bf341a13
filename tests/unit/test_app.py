"""RequestLog around an application, as an HTTP client sees it."""

import re

import pytest
from fastapi import FastAPI
from helpers import call

from app.aws_lambda import RequestLog

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
app = RequestLog(FastAPI())


@pytest.mark.parametrize("accepted", ["a", "A-z.0_9", "x" * 128])
def test_correlation_id_is_the_callers(accepted: str) -> None:
    response = call(app, "GET", "/docs", headers={"X-Correlation-ID": accepted})
    assert response.headers.get_list("x-correlation-id") == [accepted]


@pytest.mark.parametrize("refused", ["", "x" * 129, "a b", "a\tb", "ä", "a,b", "<script>", "a%0ab"])
def test_correlation_id_is_new_where_the_callers_is_not_accepted(refused: str) -> None:
    response = call(app, "GET", "/docs", headers={"x-correlation-id": refused.encode()})
    assert UUID4.fullmatch(response.headers["x-correlation-id"])


def test_correlation_id_differs_from_request_to_request() -> None:
    assert len({call(app, "GET", "/docs").headers["x-correlation-id"] for _ in range(10)}) == 10
