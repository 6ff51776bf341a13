"""The application's answers against its OpenAPI document, by schemathesis."""

from typing import Any

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from app.app import app

API = schemathesis.openapi.from_asgi("/openapi.json", app)
ROUTES = API.include(path=["/hello/", "/goodbye/"])


@API.parametrize()
def test_app_answers_as_openapi_says(case: schemathesis.Case[Any]) -> None:
    """By the checks that an ordinary FastAPI application passes: pydantic takes "1" for a number, for one."""
    case.call_and_validate(checks=[not_a_server_error, response_schema_conformance])


@ROUTES.parametrize()
def test_route_passes_every_check_of_schemathesis(case: schemathesis.Case[Any]) -> None:
    """Another method, for one, is 405, and `Allow` names the right one."""
    case.call_and_validate()
