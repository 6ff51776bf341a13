"""The bench runs, and the figures that a busy machine does not change are within their goals."""

import json
import subprocess
import sys

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT, read_requirements, run_make
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
