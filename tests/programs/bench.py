"""Compares the handler with a minimal FastAPI app behind Mangum. `make bench` runs it; Linux only.

The variants take turns. Each process shows one cold start and many later calls. It sees the runtime requirements only.
"""

import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from subprocess import DEVNULL

from rehearse import answers, find_free_port

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EVENT = json.loads((ROOT / "tests/events/guide.json").read_text())
# The module that Lambda imports in the image.
(ENTRY,) = re.findall(r'^CMD \["([\w.]+)\.handler"\]$', DOCKERFILE, re.MULTILINE)
PLAIN, MINIMAL, LAZY = "app.app", "bench_minimal", "app.app with lazy imports"
ROUTERS = (1, 10, 100)
# The value of each round, by figure and variant.
Figures = defaultdict[tuple[str, str], list[float]]
HEADERS = {f"x-header-{number}": "a value" for number in range(100)}
TIMEOUT = 120  # seconds for one process, which takes about one


def make_environment(variant: str) -> dict[str, str]:
    """Lambda's environment, and nothing of the shell's that would change the figures."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOG"))}
    image = {} if variant == MINIMAL else dict(re.findall(r"^ENV (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    if variant != LAZY:
        image.pop("PYTHON_LAZY_IMPORTS", None)
    path = f"{ROOT}:{ROOT}/tests/programs:{ROOT}/.bench/runtime"
    lambda_environment = {"AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.14"}
    return environment | image | lambda_environment | {"PYTHONPATH": path}


def measure(figures: Figures, variant: str, routers: int, calls: int, **change: object) -> None:
    """Adds the figures of one process. A change of the event gives them a name of its own."""
    path = f"/router/{routers - 1}/" if routers else EVENT["path"]
    kind = "".join(change) or str(routers or "")
    started = time.monotonic_ns()
    process = subprocess.run(
        [sys.executable, f"{ROOT}/tests/programs/bench_child.py", variant.split()[0], str(routers), str(calls)],
        env=make_environment(variant),
        input=json.dumps(EVENT | {"path": path, "resource": path} | change),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    child = json.loads(process.stderr)
    figures[f"cold{kind}", variant].append((child["answered"] - started) / 1e6)
    figures[f"p50{kind}", variant].append(statistics.median(child["times"]) / 1e3)
    figures[f"p99{kind}", variant].append(child["times"][calls * 99 // 100] / 1e3)
    figures[f"memory{kind}", variant].append(child["memory"] / 1e3)


def measure_emulator(figures: Figures, variant: str) -> None:
    """Adds the figures of one Lambda emulator with the variant behind it."""
    port = find_free_port()
    addresses = [
        f"--runtime-interface-emulator-address=127.0.0.1:{port}",
        f"--runtime-api-address=127.0.0.1:{port + 1}",
    ]
    command = [f"{ROOT}/.rie/aws-lambda-rie", *addresses, sys.executable, "-m", "awslambdaric", f"{variant}.handler"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def invoke() -> float:
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        started = time.perf_counter()
        answer = json.load(opener.open(url, json.dumps(EVENT).encode(), timeout=TIMEOUT))
        if answer.get("statusCode") != 200:
            raise RuntimeError(answer)
        return (time.perf_counter() - started) * 1e3

    with subprocess.Popen(
        command, env=make_environment(variant), stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    ) as process:
        try:
            while not answers(f"http://127.0.0.1:{port}/") and process.poll() is None:
                time.sleep(0.05)
            figures["first", variant].append(invoke())
            figures["later", variant].append(statistics.median(invoke() for _ in range(200)))
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def measure_image(image: str) -> float | None:
    """The image's size over its base, in MB. None if the engine does not have both."""
    (version,) = re.findall(r"^ARG PYTHON_VERSION=(\S+)", DOCKERFILE, re.MULTILINE)
    base = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[-1].replace("${PYTHON_VERSION}", version)
    inspect = ["docker", "image", "inspect", "--format={{.Size}}", image, base]
    sizes = subprocess.run(inspect, capture_output=True, text=True, timeout=TIMEOUT).stdout.split()
    return (int(sizes[0]) - int(sizes[1])) / 1e6 if len(sizes) == 2 else None


def main() -> None:
    if not sys.argv[1].isdecimal() or int(sys.argv[1]) < 1:
        sys.exit(f"BENCH_ROUNDS={sys.argv[1]} is no number of rounds: set it to 1 or more")
    figures, variants = Figures(list), dict.fromkeys([MINIMAL, PLAIN, ENTRY])
    if sys.version_info >= (3, 15):
        variants[LAZY] = None
    for variant in variants:
        measure(Figures(list), variant, routers=0, calls=1)  # fills the caches of bytecode and files
    for number in range(int(sys.argv[1])):
        for variant in variants:
            measure(figures, variant, routers=0, calls=2000)
        for variant in (MINIMAL, ENTRY):
            measure(figures, variant, routers=0, calls=500, headers=HEADERS)
            measure(figures, variant, routers=0, calls=5, path="/large")
        # Every third round is enough for the figures without a goal.
        for variant in (MINIMAL, ENTRY) if number % 3 == 0 else ():
            measure_emulator(figures, variant)
            for routers in ROUTERS:
                measure(figures, variant, routers, calls=500)

    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, medians of {sys.argv[1]} rounds\n")
    print(f"{'':<42}{'minimal':>9}{'ours':>9}{'ratio':>9}{'goal':>9}")
    for name, figure, variant, goal in (
        (f"cold start of {ENTRY}, ms", "cold", ENTRY, "≤ 0.90"),
        (f"cold start of {PLAIN}, ms", "cold", PLAIN, "≤ 1.08"),
        *((f"cold start of {LAZY}, ms", "cold", each, "") for each in variants if each == LAZY),
        ("a later call, p50, µs", "p50", ENTRY, "≤ 2.30"),
        ("a later call, p99, µs", "p99", ENTRY, ""),
        ("a later call with 100 headers, µs", "p50headers", ENTRY, "≤ 2.50"),
        ("a later call, 6 MB answered, µs", "p50path", ENTRY, "≤ 1.30"),
        ("memory, MB", "memory", ENTRY, "≤ 1.03"),
        *((f"cold start with {routers} routers, ms", f"cold{routers}", ENTRY, "") for routers in ROUTERS),
        *((f"a later call with {routers} routers, µs", f"p50{routers}", ENTRY, "") for routers in ROUTERS),
        ("Lambda emulator, first call, ms", "first", ENTRY, ""),
        ("Lambda emulator, a later call, ms", "later", ENTRY, ""),
    ):
        minimal, ours = (statistics.median(figures[figure, each]) for each in (MINIMAL, variant))
        print(f"{name:<42}{minimal:>9.1f}{ours:>9.1f}{ours / minimal:>9.2f}{goal:>9}".rstrip())
    size = measure_image(sys.argv[2]) if shutil.which("docker") else None
    print(f"{'image over its base, MB':<51}" + (f"{size:>9.1f}{'≤ 16.2':>18}" if size else " needs a Docker engine"))


if __name__ == "__main__":
    main()
