"""app/cold_start.py imports the app faster, and leaves pydantic and FastAPI as they were."""

import json

from helpers import run_python

from app.app import app

START = """
import json, sys, pydantic
before = dict(vars(pydantic.BaseModel)), dict(pydantic.BaseModel.model_config)
import app.cold_start, app.app, gc
from fastapi.openapi.models import Components, OpenAPI, PathItem, Schema
"""


def test_cold_start_gives_the_handler_and_builds_no_model_of_openapi() -> None:
    """If this fails with a new FastAPI or pydantic, the import is no longer faster: `make bench` tells."""
    code = """
assert app.cold_start.handler is app.app.handler
assert gc.isenabled()
assert gc.get_freeze_count() > 10_000
assert [model.__pydantic_complete__ for model in (OpenAPI, Components, PathItem)] == [False] * 3
"""
    process = run_python(START + code)
    assert process.returncode == 0, process.stderr


def test_cold_start_leaves_models_and_the_openapi_document_as_they_were() -> None:
    code = f"""
assert before == (dict(vars(pydantic.BaseModel)), pydantic.BaseModel.model_config)
for model in (models := [pydantic.BaseModel]):
    models += model.__subclasses__()
assert len(models) > 40
assert [each for each in models if "defer_build" in each.model_config] == []

class MySchema(Schema):
    mine: int
class Parent(pydantic.BaseModel):
    child: "Child"
class Child(pydantic.BaseModel):
    name: str
Parent.model_rebuild()
assert [each.__pydantic_complete__ for each in (MySchema, Parent, Child)] == [True] * 3
assert MySchema(mine=1, properties={{"a": {{"type": "string"}}}}).properties["a"].type == "string"
assert app.app.app.openapi() == json.loads({json.dumps(app.openapi())!r})
"""
    process = run_python(START + code)
    assert process.returncode == 0, process.stderr
