"""Measures the handler against the least that there could be. `make bench` runs it; Linux only.

The variants take turns, on the same interpreter, in an environment that holds the runtime requirements only: `limit`
(a constant), `minimal` (FastAPI and Mangum, and nothing else), the same with the lifespan off, and `ours`. Ours has the
environment variables of the image. Each process is measured once for its cold start, then for many later calls.
"""

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from rehearse import answers, find_free_port

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests/bench"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
RIE = ROOT / ".rie/aws-lambda-rie"
RESULTS = ROOT / ".bench/results.json"

MODULES = {"limit": "limit", "minimal": "minimal", "lifespan off": "lifespan_off", "ours": "app.app"}
EVENT = json.loads((ROOT / "tests/events/guide.json").read_text())
# Seconds for one process: some hundred times what it takes.
PATIENCE = 120

GOALS = {"cold, ms": 0.90, "warm p50, µs": 1.25, "memory, MB": 1.05}
IMAGE_GOAL = 16

Figures = dict[str, dict[str, list[float]]]


def make_environment(variant: str) -> dict[str, str]:
    """What a process of this variant gets: for Lambda's logs, and nothing of the shell's that would change figures."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOG"))}
    environment |= {"PYTHONPATH": str(ROOT), "AWS_LAMBDA_FUNCTION_NAME": "bench"}
    if variant == "ours":
        environment |= dict(re.findall(r"^ENV (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    return environment


def run_child(variant: str, calls: int, event: dict[str, Any] = EVENT, routers: int = 0) -> dict[str, float]:
    """The figures of one process.

    Raises:
        RuntimeError: the handler did not answer with 200; holds what the process said.
    """
    command = [sys.executable, str(HERE / "child.py"), MODULES[variant], str(calls), str(routers)]
    started = time.monotonic_ns()
    process = subprocess.run(
        command,
        env=make_environment(variant),
        input=json.dumps(event),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    child = json.loads(process.stderr)
    if child["status"] != 200:
        raise RuntimeError(f"{variant} answered {child['status']} to {event['path']}")
    later = sorted(child["later"])
    return {
        "cold, ms": (child["answered"] - started) / 1e6,
        "import, ms": child["import"] / 1e6,
        "warm p50, µs": statistics.median(later) / 1e3,
        "warm p99, µs": later[len(later) * 99 // 100] / 1e3,
        "warm p50, flushed, µs": statistics.median(child["later, flushed"]) / 1e3,
        "memory, MB": child["memory"] / 1000,
    }


def measure(rounds: int, variants: list[str], **case: Any) -> Figures:
    """What each variant shows in each round, by figure and variant."""
    figures: Figures = {}
    for variant in variants:
        run_child(variant, **case | {"calls": 1})  # fills the caches of bytecode and files
    for _ in range(rounds):
        for variant in variants:
            for name, value in run_child(variant, **case).items():
                figures.setdefault(name, {}).setdefault(variant, []).append(value)
    return figures


def make_event(path: str, body: Any = None) -> dict[str, Any]:
    event: dict[str, Any] = EVENT | {"path": path, "resource": path}
    if body is not None:
        event |= {"httpMethod": "POST", "body": json.dumps(body), "headers": {"content-type": "application/json"}}
    return event


def measure_growth(rounds: int) -> dict[str, Figures]:
    """By case: what routers and long bodies cost. The limit's answer is a constant, whatever its length."""
    cases: dict[str, dict[str, Any]] = {
        **{f"{n} routers": {"event": make_event(f"/router/{n - 1}/"), "routers": n} for n in (1, 10, 100)},
        "an answer of 1 KB": {"event": make_event("/answer/1000")},
        "an answer of 100 KB": {"event": make_event("/answer/100000")},
        "an answer of 5 MB": {"event": make_event("/answer/5000000"), "calls": 50},
        "a request of 5 MB": {"event": make_event("/request", {"message": "x" * 5_000_000}), "calls": 50},
    }
    return {
        name: measure(rounds, ["minimal", "ours"], **{"calls": 500, "routers": 1} | case)
        for name, case in cases.items()
    }


@contextmanager
def running_emulator(variant: str, log: Path) -> Iterator[str]:
    """The Lambda emulator with the variant behind it; gives the URL that invokes it."""
    port = find_free_port()
    environment = make_environment(variant)
    environment["PYTHONPATH"] += f"{os.pathsep}{HERE}{os.pathsep}{ROOT / '.bench/runtime'}"
    addresses = [
        f"--runtime-interface-emulator-address=127.0.0.1:{port}",
        f"--runtime-api-address=127.0.0.1:{port + 1}",
    ]
    command = [str(RIE), *addresses, sys.executable, "-m", "awslambdaric", f"{MODULES[variant]}.handler"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{port}/"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def measure_emulator(rounds: int) -> Figures:
    figures: Figures = {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def invoke(url: str) -> float:
        started = time.perf_counter()
        answer = json.load(opener.open(url, json.dumps(EVENT).encode(), timeout=PATIENCE))
        if answer.get("statusCode") != 200:
            raise RuntimeError(answer)
        return (time.perf_counter() - started) * 1000

    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for variant in MODULES:
                with running_emulator(variant, Path(folder, "log")) as url:
                    first = figures.setdefault("emulator, first, ms", {})
                    later = figures.setdefault("emulator, later, ms", {})
                    first.setdefault(variant, []).append(invoke(url))
                    later.setdefault(variant, []).append(statistics.median(invoke(url) for _ in range(200)))
    return figures


def measure_image(image: str) -> dict[str, Any] | None:
    """The layers that the image has over its base, in MB; None where no engine has both."""

    def ask(*arguments: str) -> list[str] | None:
        try:
            process = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=PATIENCE)
        except FileNotFoundError:
            return None
        return process.stdout.splitlines() if process.returncode == 0 else None

    version = re.findall(r"^ARG PYTHON_VERSION=(\S+)", DOCKERFILE, re.MULTILINE)[0]
    base = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[-1].replace("${PYTHON_VERSION}", version)
    history = ["history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}"]
    layers, layers_of_base = ask(*history, image), ask(*history, base)
    if layers is None or layers_of_base is None:
        return None
    own = [layer.split(" ", 1) for layer in reversed(layers[: -len(layers_of_base)])]
    return {
        "base": base,
        "layers": [{"MB": int(size) / 1e6, "made by": command} for size, command in own],
        "MB": sum(int(size) for size, _ in own) / 1e6,
    }


def measure_imports(variant: str) -> dict[str, float]:
    """The slowest imports of a variant, in ms, each without what it imports itself (`python -X importtime`)."""
    command = [sys.executable, "-X", "importtime", str(HERE / "child.py"), MODULES[variant], "0", "0"]
    process = subprocess.run(
        command,
        env=make_environment(variant),
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    times = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", process.stderr, re.MULTILINE)
    return {name: int(time) / 1000 for time, name in sorted(times, key=lambda each: -int(each[0]))[:10]}


def compute_ratio(by_variant: dict[str, list[float]]) -> float:
    return statistics.median(by_variant["ours"]) / statistics.median(by_variant["minimal"])


def format_value(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 1 else 3}f}"


def format_values(values: list[float]) -> str:
    return f"{format_value(statistics.median(values))} ({format_value(min(values))}…{format_value(max(values))})"


def print_results(results: dict[str, Any]) -> None:
    machine, image = results["machine"], results["image"]
    print(
        f"Python {machine['python']}, {machine['cpus']} CPUs; median (minimum…maximum) of {results['rounds']} rounds\n"
    )
    print(f"{'':<22}" + "".join(f"{variant:>22}" for variant in MODULES) + f"{'ours/minimal':>15}{'goal':>9}")
    for name, by_variant in (results["one route"] | results["emulator"]).items():
        row = "".join(f"{format_values(by_variant[variant]):>22}" for variant in MODULES)
        goal = f"≤ {GOALS[name]:.2f}" if name in GOALS else ""
        print(f"{name:<22}{row}{compute_ratio(by_variant):>15.2f}{goal:>9}")

    shown = ("cold, ms", "warm p50, µs", "memory, MB")
    print(f"\n{'minimal → ours':<22}" + "".join(f"{name:>26}" for name in shown))
    for case, figures in results["growth"].items():
        cells = [
            " → ".join(format_value(statistics.median(figures[name][variant])) for variant in ("minimal", "ours"))
            + f" ({compute_ratio(figures[name]):.2f})"
            for name in shown
        ]
        print(f"{case:<22}" + "".join(f"{cell:>26}" for cell in cells))

    if image:
        print(f"\nThe image adds {image['MB']:.1f} MB to {image['base']}; the goal is ≤ {IMAGE_GOAL} MB")
        for layer in image["layers"]:
            print(f"{layer['MB']:>6.1f} MB  {layer['made by'][:100]}")
    else:
        print("\nThe image was not measured: no Docker engine has it")
    for variant, imports in results["slowest imports, ms"].items():
        print(f"\nThe slowest imports of {variant}, ms")
        print("  " + ", ".join(f"{name} {format_value(time)}" for name, time in imports.items()))


def main() -> None:
    if not sys.argv[1].isdecimal() or int(sys.argv[1]) < 1:
        sys.exit(f"BENCH_ROUNDS={sys.argv[1]} is no number of rounds: set it to 1 or more")
    rounds = int(sys.argv[1])
    few_rounds = -(-rounds // 3)
    results: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "platform": platform.platform(), "cpus": os.cpu_count()},
        "packages": {each.name: each.version for each in distributions()},
        "rounds": rounds,
        "one route": measure(rounds, list(MODULES), calls=2000),
        "emulator": measure_emulator(few_rounds),
        "growth": measure_growth(few_rounds),
        "image": measure_image(sys.argv[2]),
        "slowest imports, ms": {variant: measure_imports(variant) for variant in ("minimal", "ours")},
    }
    RESULTS.write_text(json.dumps(results, indent=1))
    print_results(results)
    print(f"\n>> {RESULTS.relative_to(ROOT)} has every figure")


if __name__ == "__main__":
    main()
