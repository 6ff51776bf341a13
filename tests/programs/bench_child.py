"""One process of the bench: bench_child.py MODULE ROUTERS CALLS, with the event on standard input.

Adds routers to the module's app, and calls its handler once and then CALLS times. The log goes to standard output,
flushed after each line as on Lambda, and the figures go to standard error as JSON.
"""

import json
import sys
import time
from importlib import import_module
from types import SimpleNamespace


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    module = import_module(sys.argv[1])
    if routers := int(sys.argv[2]):
        from fastapi import APIRouter  # the module has imported it

        async def say_hello() -> dict[str, str]:
            return {"message": "Hello, World"}

        for number in range(routers):
            router = APIRouter(prefix=f"/router/{number}")
            router.get("/")(say_hello)
            # The image's entry point may import no more than the handler from app.app.
            sys.modules.get("app.app", module).app.include_router(router)
    event = json.load(sys.stdin)
    if event["path"] == "/large":
        sys.modules.get("app.app", module).app.get("/large")(lambda: "a" * 6_000_000)
    context = SimpleNamespace(aws_request_id="8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10")

    def call() -> int:
        started = time.perf_counter_ns()
        answer = module.handler(event, context)
        ended = time.perf_counter_ns()
        if answer["statusCode"] != 200:
            sys.exit(str(answer))
        return ended - started

    call()
    answered = time.monotonic_ns()  # the same clock in all processes
    times = sorted(call() for _ in range(int(sys.argv[3])))
    from pathlib import Path  # an import before would belong to the cold start

    memory = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    json.dump({"answered": answered, "times": times, "memory": int(memory)}, sys.stderr)


main()
