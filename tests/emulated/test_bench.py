"""The bench runs, and the figures that a busy machine does not change are within their goals."""

import json
import subprocess
import sys

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT, read_requirements, run_make, run_python
from packaging.utils import canonicalize_name


@pytest.mark.skipif(sys.platform != "linux", reason="the Lambda emulator runs on Linux only")
def test_bench_measures_each_variant_and_meets_its_goals_of_size(image: str) -> None:
    bench = run_make("bench", "BENCH_ROUNDS=1")
    assert bench.returncode == 0, bench.stderr
    results = json.loads((ROOT / ".bench/results.json").read_text())
    measured = results["one route"] | results["emulator"]
    assert {(name, variant) for name in measured for variant in measured[name]} == {
        (name, variant)
        for name in (
            *("cold, ms", "import, ms", "warm p50, µs", "warm p99, µs", "warm p50, flushed, µs", "memory, MB"),
            *("emulator, first, ms", "emulator, later, ms"),
        )
        for variant in ("limit", "minimal", "lifespan off", "ours")
    }
    assert all(len(values) == 1 and values[0] > 0 for each in measured.values() for values in each.values())
    memory = results["one route"]["memory, MB"]
    assert memory["ours"][0] <= 1.05 * memory["minimal"][0]
    assert 0 < results["image"]["MB"] <= 16
    assert len(results["growth"]) == 7
    packages = {canonicalize_name(name): version for name, version in results["packages"].items()}
    assert packages == read_requirements("requirements.lock")


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_bench_refuses_what_is_no_number_of_rounds(rounds: str) -> None:
    run = [sys.executable, "tests/bench/run.py", rounds, "hello-lambda"]
    process = subprocess.run(
        run, cwd=ROOT, env={**CLEAN_ENVIRONMENT, "PYTHONPATH": "tests/rehearse"}, capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (
        1,
        f"BENCH_ROUNDS={rounds} is no number of rounds: set it to 1 or more\n",
    )


def test_app_imports_neither_pydantics_version_1_nor_builds_the_models_of_openapi() -> None:
    code = """
import gc, sys
import app.app
from fastapi.openapi.models import OpenAPI, Schema
built = OpenAPI.__pydantic_complete__ or Schema.__pydantic_complete__
print(sys.modules["pydantic.v1"], built, gc.isenabled(), gc.get_freeze_count() > 10_000)
"""
    process = run_python(code)
    assert process.stdout == "None False True True\n", process.stderr


def test_app_builds_its_own_models_at_once() -> None:
    """Else a model of a route would be built at its first request, with warnings that FastAPI holds back."""
    code = """
import app.app
from app.models import Message
from pydantic import BaseModel
class Parent(BaseModel):
    child: "Child"
class Child(BaseModel):
    name: str
Parent.model_rebuild()
print(Message.__pydantic_complete__, Parent.__pydantic_complete__)
"""
    process = run_python(code)
    assert process.stdout == "True True\n", process.stderr
