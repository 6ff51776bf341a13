"""app/cold_start.py imports the app faster, and leaves pydantic and FastAPI as they were."""

import json
import re

from helpers import ROOT, read_requirements, run_python

SOURCE = (ROOT / "app/cold_start.py").read_text()


def run(code: str, **environment: str) -> str:
    """Returns the output of code that runs in a process of its own."""
    process = run_python(code, **environment)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_cold_start_gives_the_handler_of_the_app() -> None:
    code = "import app.cold_start, app.app; print(app.cold_start.handler is app.app.handler)"
    assert run(code) == "True\n"


def test_cold_start_imports_no_pydantic_v1_and_builds_no_model_of_openapi() -> None:
    code = """
import sys
from app.cold_start import handler
from fastapi.openapi.models import OpenAPI, Schema
guide = {"resource": "/hello", "path": "/hello/", "httpMethod": "GET", "multiValueQueryStringParameters": {}}
answer = handler({**guide, "requestContext": {}}, None)
print("pydantic.v1" in sys.modules, OpenAPI.__pydantic_complete__, Schema.__pydantic_complete__, answer["statusCode"])
"""
    assert run(code, LOG_LEVEL="ERROR") == "False False False 200\n"


def test_cold_start_turns_the_garbage_collector_on_again() -> None:
    code = "import app.cold_start, gc; print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    assert run(code) == "True True\n"


def test_cold_start_puts_base_model_back() -> None:
    code = """
from pydantic import BaseModel
before = BaseModel.__dict__["model_rebuild"], dict(BaseModel.model_config)
import app.cold_start
print(before == (BaseModel.__dict__["model_rebuild"], BaseModel.model_config))
models = [BaseModel]
for model in models:
    models += model.__subclasses__()
print(len(models) > 40, [model for model in models if "defer_build" in model.model_config])
"""
    assert run(code) == "True\nTrue []\n"


def test_models_that_are_derived_from_those_of_openapi_work_at_once() -> None:
    code = """
import app.cold_start
from fastapi.openapi.models import Encoding, OpenAPI, Operation, Schema
class MySchema(Schema):
    mine: int
class MyOperation(Operation):
    mine: int
class MyEncoding(Encoding):
    mine: int
class MyOpenAPI(OpenAPI):
    mine: int
print([model.__pydantic_complete__ for model in (MySchema, MyOperation, MyEncoding, MyOpenAPI)])
print(MySchema(mine=1, properties={"a": {"type": "string"}}).properties["a"].type)
"""
    assert run(code) == "[True, True, True, True]\nstring\n"


def test_models_that_are_complete_later_work_as_always() -> None:
    code = """
import app.cold_start
from app.models import Message
from pydantic import BaseModel
class Parent(BaseModel):
    child: "Child"
class Child(BaseModel):
    name: str
Parent.model_rebuild()
print(Message.__pydantic_complete__, Parent.__pydantic_complete__, Parent(child={"name": "a"}))
"""
    assert run(code) == "True True child=Child(name='a')\n"


def test_pydantic_v1_can_be_imported_and_fastapi_still_refuses_its_models() -> None:
    code = """
import warnings
import app.cold_start
from fastapi import FastAPI
from fastapi.exceptions import FastAPIError
warnings.simplefilter("ignore")
import pydantic.v1
class Old(pydantic.v1.BaseModel):
    name: str
print(Old(name="a"))
def read() -> Old: ...
try:
    FastAPI().get("/")(read)
except FastAPIError as error:
    print(error)
"""
    model, refusal = run(code).splitlines()
    assert model == "name='a'"
    assert refusal.startswith("pydantic.v1 models are no longer supported by FastAPI.")


def test_openapi_document_is_the_same() -> None:
    code = "from {} import handler; from app.app import app; import json; print(json.dumps(app.openapi()))"
    documents = [json.loads(run(code.format(module))) for module in ("app.cold_start", "app.app")]
    assert documents[0] == documents[1]
    assert documents[0]["paths"].keys() >= {"/hello/", "/goodbye/"}


def test_cold_start_steps_aside_for_an_untested_version_and_says_so() -> None:
    untested = re.sub(r"fastapi-[\d.]+", "fastapi-0.1.0", SOURCE)
    code = f"exec({untested!r})\nprint('pydantic.v1' in sys.modules, handler.__name__)"
    warning, result = run(code).splitlines()
    assert "Imported as usual: app/cold_start.py was tested with ('fastapi-0.1.0', 'pydantic-" in warning
    assert result == "True handler"


def test_cold_start_is_tested_with_the_locked_versions() -> None:
    locked = read_requirements("requirements.lock")
    (tested,) = re.findall(r"^TESTED = (.*?)  #", SOURCE, re.MULTILINE)
    assert tested == f'("fastapi-{locked["fastapi"]}", "pydantic-{locked["pydantic"]}")'
