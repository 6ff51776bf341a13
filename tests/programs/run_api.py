"""Runs the API on an emulated AWS account on this machine, with its signatures and policies, until Ctrl-C.

The same make targets deploy it as deploy it to AWS. A change under app/ is deployed when it is saved.
"""

import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from guard import MARK, is_own
from rehearse import ROOT, Rehearsal

# Eight hexadecimal digits, which the emulator demands. They stay the same from run to run.
API_ID = "10ca1a91"
DEFAULT_PORT = 8000
# A function from a zip is created without these steps.
NEED_REPOSITORY = ("create_ecr_repository", "deploy_to_ecr", "update_lambda_function")
LOG_GROUP = "/aws/lambda/hello-lambda"
POLL = 0.3  # seconds
REQUEST = re.compile(r"request (\S+) /_aws/execute-api/\w+(/\S*) (\d+) ([\d.]+)$")
HELP = """
The API runs until Ctrl-C, at {stage}/

Open another terminal in this folder. Send a signed request, and an unsigned one:

  ENV_FILE={env_file} {python} examples/call_route.py {path}
  curl {stage}{path}
"""


def check_port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        sys.exit(f"API_PORT={text} is not a port: {DEFAULT_PORT}, for example")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", int(text)))
        except OSError as error:
            sys.exit(f"API_PORT={text} cannot be used ({error.strerror}). Name another: make run_api API_PORT=8001")
    return int(text)


def choose_env_file(port: int) -> Path:
    if not os.access(ROOT, os.W_OK):
        sys.exit(f"The folder {ROOT} cannot be written to. Clone the repository to another folder")
    path = ROOT / (".env.local" if port == DEFAULT_PORT else f".env.local.{port}")
    if path.exists() and not is_own(path):
        sys.exit(
            f"{path.name} is not a file of make run_api. Move it, or name another port: make run_api API_PORT=8001"
        )
    return path


def write_env_file(rehearsal: Rehearsal, path: Path) -> None:
    """At once, and for its owner alone. The guard deletes it."""
    rehearsal.tell_guard("watch file", path)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".env.local.") as folder:
        rehearsal.tell_guard("watch folder", folder)
        draft = Path(folder, path.name)
        draft.touch(mode=0o600)
        draft.write_text(MARK + rehearsal.env_file.read_text())
        draft.replace(path)


def print_help(rehearsal: Rehearsal, env_file: Path) -> None:
    stage = rehearsal.read_settings()["API_SECURE_ENDPOINT"].rpartition("/")[0]
    python = rehearsal.environment["PYTHON"]
    python = os.path.relpath(python, ROOT) if Path(python).is_relative_to(ROOT) else python
    path = rehearsal.function.path
    print(HELP.format(stage=stage, env_file=env_file.name, python=shlex.quote(python), path=path))
    if not rehearsal.in_image:
        print(">> a change under app/ is deployed when it is saved", flush=True)


class FunctionLog:
    """The function's lines in CloudWatch. Each invocation has a stream of its own there."""

    def __init__(self, logs: Any) -> None:
        self.logs = logs
        self.since = 0
        self.seen: set[str] = set()

    def read_new(self) -> list[str]:
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP, startTime=self.since)
        try:
            events = [event for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            sys.exit("the emulated AWS account has lost the function's log: run make run_api again")
        new = [event["message"] for event in events if event["logStreamName"] not in self.seen]
        self.seen = {event["logStreamName"] for event in events}
        # An invocation may write its lines later than another one that ended after it.
        self.since = max([self.since, *(event["timestamp"] - 5000 for event in events)])
        return [message for message in new if not re.match("(START|END|REPORT) RequestId: ", message)]


def show(lines: list[str]) -> None:
    """Prints lines. Characters that could control the terminal, or begin another line, are escaped."""
    for line in itertools.chain.from_iterable(map(unfold, lines)):
        print("".join(each if each.isprintable() else ascii(each)[1:-1] for each in line.rstrip()), flush=True)


def unfold(line: str) -> list[str]:
    """Puts the traceback of a log line below it, with one line for each of its lines."""
    try:
        record = json.loads(line)
        traceback = record.pop("exception").splitlines()
    except (ValueError, KeyError, TypeError, AttributeError):
        return [line]
    return [json.dumps(record, ensure_ascii=False), *traceback]


def read_requests(log: TextIO) -> list[str]:
    found = filter(None, map(REQUEST.match, log))
    return [
        f"{method} {path} {status} {float(seconds) * 1000:.0f} ms"
        for method, path, status, seconds in map(re.Match.groups, found)
    ]


def read_state() -> dict[Path, int]:
    """When each file of the app was changed."""
    files = {}
    for folder, _, names in os.walk(ROOT / "app"):
        for path in (Path(folder, name) for name in names if not folder.endswith("__pycache__")):
            with contextlib.suppress(FileNotFoundError):
                files[path] = path.stat().st_mtime_ns
    return files


def reload(rehearsal: Rehearsal) -> None:
    started = time.monotonic()
    try:
        rehearsal.function.update_from_zip()
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        show(str(error).splitlines())
        print(">> app/ does not start: the function goes on with its code, until the next change", flush=True)
    else:
        print(f">> the function has the new code ({time.monotonic() - started:.1f} s)", flush=True)


def follow(rehearsal: Rehearsal, state: dict[Path, int]) -> None:
    """Shows what happens, and reloads when app/ is no longer in this state, until the emulator ends."""
    function_log = FunctionLog(rehearsal.function.connect("logs"))
    function_log.read_new()
    with rehearsal.emulator_log.open(errors="replace") as log:
        while rehearsal.emulator.poll() is None:
            if requests := read_requests(log):
                show([*function_log.read_new(), *requests])
            if not rehearsal.in_image and state != (state := read_state()):
                reload(rehearsal)
            time.sleep(POLL)
    sys.exit("the emulated AWS account has ended, and with it the API")


def main() -> None:
    port = check_port(sys.argv[1])
    env_file = choose_env_file(port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    if sys.argv[2] not in ("yes", "no"):
        sys.exit(f"IMAGE={sys.argv[2]} is neither yes nor no")
    in_image = sys.argv[2] == "yes"
    rehearsal = Rehearsal(port, in_image=in_image)
    try:
        if in_image and not rehearsal.in_image:
            sys.exit("IMAGE=yes needs a Docker engine, on Linux")
        rehearsal.environment["STACK_TAGS"] = f"ms-custom-id={API_ID}"
        rehearsal.start_account()
        state = read_state()  # a change from now on may miss the zip
        rehearsal.deploy([step for step in sys.argv[3:] if in_image or step not in NEED_REPOSITORY])
        write_env_file(rehearsal, env_file)
        print_help(rehearsal, env_file)
        follow(rehearsal, state)
    except KeyboardInterrupt:
        print()
    finally:
        rehearsal.end_everything()
        print(">> stopped everything", flush=True)


if __name__ == "__main__":
    main()
