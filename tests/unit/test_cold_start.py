"""app/cold_start.py imports the app faster, and leaves pydantic and FastAPI as they were."""

import json
from typing import Any

import pytest
from helpers import run_python

from app.app import app

CODE = """
import json, pydantic
before = dict(vars(pydantic.BaseModel)), dict(pydantic.BaseModel.model_config)

import app.cold_start, app.app, gc
found = {
    "handler": app.cold_start.handler is app.app.handler,
    "collector": [gc.isenabled(), gc.get_freeze_count() > 10_000],
    "base model": before == (dict(vars(pydantic.BaseModel)), pydantic.BaseModel.model_config),
}

from fastapi.openapi.models import Components, OpenAPI, PathItem, Schema
found["built"] = [model.__pydantic_complete__ for model in (OpenAPI, Components, PathItem)]
models = [pydantic.BaseModel]
for model in models:
    models += model.__subclasses__()
found["deferred"] = [len(models) > 40, [repr(each) for each in models if "defer_build" in each.model_config]]

class MySchema(Schema):
    mine: int
class Parent(pydantic.BaseModel):
    child: "Child"
class Child(pydantic.BaseModel):
    name: str
Parent.model_rebuild()
found["own built"] = [each.__pydantic_complete__ for each in (MySchema, Parent, Child)]
found["own"] = MySchema(mine=1, properties={"a": {"type": "string"}}).properties["a"].type
found["document"] = app.app.app.openapi()
json.dump(found, open({file!r}, "w"))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Starts a process as Lambda does, and returns its findings."""
    file = tmp_path_factory.mktemp("cold_start") / "found.json"
    process = run_python(CODE.replace("{file!r}", repr(str(file))))
    assert process.returncode == 0, process.stderr
    return json.loads(file.read_text())


def test_cold_start_gives_the_handler_and_builds_no_model_of_openapi(found: Any) -> None:
    """If this fails with a new FastAPI or pydantic, the import is no longer faster: `make bench` tells."""
    assert (found["handler"], found["collector"], found["built"]) == (True, [True, True], [False, False, False])


def test_cold_start_puts_base_model_back(found: Any) -> None:
    assert (found["base model"], found["deferred"]) == (True, [True, []])
    assert (found["own built"], found["own"]) == ([True] * 3, "string")


def test_openapi_document_is_the_same(found: Any) -> None:
    assert found["document"] == app.openapi()
