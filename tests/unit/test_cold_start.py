"""app/cold_start.py imports the app faster, and leaves pydantic and FastAPI as they were."""

import json

from helpers import run_python


def run(code: str) -> str:
    """Returns the output of code that runs in a process of its own."""
    process = run_python(code, LOG_LEVEL="ERROR")
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_cold_start_gives_the_handler_and_builds_no_model_of_openapi() -> None:
    """If this fails with a new FastAPI or pydantic, the import is no longer faster: `make bench` tells."""
    code = """
import app.cold_start, app.app, gc
print(app.cold_start.handler is app.app.handler, gc.isenabled(), gc.get_freeze_count() > 10_000)
from fastapi.openapi.models import Components, OpenAPI, PathItem
print(OpenAPI.__pydantic_complete__, Components.__pydantic_complete__, PathItem.__pydantic_complete__)
"""
    assert run(code) == "True True True\nFalse False False\n"


def test_cold_start_puts_base_model_back() -> None:
    code = """
from pydantic import BaseModel
before = dict(vars(BaseModel)), dict(BaseModel.model_config)
import app.cold_start
print(before == (dict(vars(BaseModel)), BaseModel.model_config))
models = [BaseModel]
for model in models:
    models += model.__subclasses__()
print(len(models) > 40, [model for model in models if "defer_build" in model.model_config])
"""
    assert run(code) == "True\nTrue []\n"


def test_models_work_as_always_after_a_cold_start() -> None:
    code = """
import app.cold_start
from fastapi.openapi.models import Encoding, OpenAPI, Operation, Schema
from pydantic import BaseModel
class MySchema(Schema):
    mine: int
class MyOperation(Operation):
    mine: int
class MyOpenAPI(OpenAPI):
    mine: int
class Parent(BaseModel):
    child: "Child"
class Child(BaseModel):
    name: str
Parent.model_rebuild()
print([model.__pydantic_complete__ for model in (MySchema, MyOperation, MyOpenAPI, Parent, Child)])
print(MySchema(mine=1, properties={"a": {"type": "string"}}).properties["a"].type, Parent(child={"name": "a"}))
"""
    assert run(code) == "[True, True, True, True, True]\nstring child=Child(name='a')\n"


def test_openapi_document_is_the_same() -> None:
    code = "from {} import handler; from app.app import app; import json; print(json.dumps(app.openapi()))"
    documents = [json.loads(run(code.format(module))) for module in ("app.cold_start", "app.app")]
    assert documents[0] == documents[1]
