"""One process of the bench: child.py MODULE CALLS ROUTERS, with the event on standard input.

Imports the module's handler, adds routers where there are to be any (and the module's app is to grow), and calls the
handler CALLS times, and CALLS times again. What the handler logs goes to standard output, through Python's buffer, and
in the second half line by line, as Lambda's runtime client has it. The figures go, as JSON, to standard error: when the
first answer was there (ns of the monotonic clock, which all processes share), how long the import took (ns), how long
each later call took, in each half (ns), and the most memory that the process had (kB).
"""

import json
import sys
import time
from importlib import import_module


class Context:
    aws_request_id = "8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10"


def main() -> None:
    name, calls, routers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    started = time.monotonic_ns()
    module = import_module(name)
    imported = time.monotonic_ns() - started
    if routers:
        import_module("growth").grow(module.app, routers)
    event = json.load(sys.stdin)
    answer = module.handler(event, Context)
    answered = time.monotonic_ns()

    def call_again() -> list[int]:
        nonlocal answer
        times = []
        for _ in range(calls):
            started = time.perf_counter_ns()
            answer = module.handler(event, Context)
            times.append(time.perf_counter_ns() - started)
        return times

    later = call_again()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    later_flushed = call_again()
    from pathlib import Path  # not before: it would count

    status = Path("/proc/self/status").read_text()
    figures = {
        "answered": answered,
        "import": imported,
        "later": later,
        "later, flushed": later_flushed,
        "memory": int(status.split("VmHWM:")[1].split()[0]),
        "status": answer["statusCode"],
    }
    json.dump(figures, sys.stderr)


main()
