"""Deploys or deletes a stack, and waits while something is under way in it.

python aws/stack.py aws cloudformation deploy --stack-name …
python aws/stack.py aws cloudformation delete-stack --stack-name …

`deploy` first deletes a stack that could not be created, since CloudFormation refuses to update it. An output whose
description is `Saved to .env as NAME` becomes this setting. `delete-stack` empties it. A failure is printed with its reasons.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from env_file import forget_settings, save_settings

LIMIT = 1200  # seconds
THROTTLED = re.compile("Throttling|TooManyRequests|Too Many Requests|Rate exceeded")


def run(operation: str, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["aws", "cloudformation", operation, "--stack-name", name, *options, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True)


def wait(name: str) -> dict[str, Any]:
    """The stack, once nothing is under way in it. Empty if there is no such stack."""
    deadline, pause, status = time.monotonic() + LIMIT, 1, "unknown"
    while time.monotonic() < deadline:
        process = run("describe-stacks", name)
        if process.returncode == 0:
            stack: dict[str, Any] = json.loads(process.stdout)["Stacks"][0]
            status = stack["StackStatus"]
            if not re.search("(?<!REVIEW)_IN_PROGRESS$", status):
                return stack
        elif "does not exist" in process.stderr:
            return {}
        elif not THROTTLED.search(process.stderr):
            sys.exit(process.stderr.strip())
        time.sleep(pause)
        pause = min(pause + 1, 5)
    sys.exit(f"The stack {name} has been in {status} for {LIMIT} s. Run the same target again to go on waiting")


def read_reasons(name: str, since: datetime) -> str:
    """Why resources failed, or the check before any resource. Only newer versions of the aws CLI know `describe-events`."""
    # AWS accepts a clock that is up to 5 minutes off.
    since -= timedelta(minutes=5)
    for operation, *options in (("describe-events", "--filters", "FailedEvents=true"), ("describe-stack-events",)):
        process = run(operation, name, *options)
        answer = json.loads(process.stdout) if process.returncode == 0 else {}
        events = answer.get("OperationEvents") or answer.get("StackEvents") or []
        lines = [
            f"{event.get('LogicalResourceId', name)}: {event[key + 'Reason']}"
            for event in events
            # A resource, a check before any resource, and a hook have a status and a reason each.
            for key in event
            if str(event[key]).endswith("FAILED") and datetime.fromisoformat(event["Timestamp"]) > since
            if f"{key}Reason" in event
        ]
        if lines:
            return "\n".join(lines)
    return process.stderr.strip()


def deploy(name: str, command: Sequence[str]) -> None:
    status, started, deadline = wait(name).get("StackStatus"), datetime.now(UTC), time.monotonic() + LIMIT
    if status in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        print(f">> the stack {name} is in {status}. It is deleted before the deployment", flush=True)
        delete(name)
    while subprocess.run(command).returncode:
        reasons = read_reasons(name, started)
        if "already an update in progress" not in reasons or time.monotonic() > deadline:
            sys.exit(f"The stack {name} could not be deployed:\n{reasons}")
        print(">> API Gateway still applies the last change of the API. Once more in 30 s", flush=True)
        time.sleep(30)
        wait(name)


def delete(name: str) -> None:
    started, deadline = datetime.now(UTC), time.monotonic() + LIMIT
    while True:
        process = run("delete-stack", name)
        if process.returncode:
            sys.exit(process.stderr.strip())
        stack = wait(name)
        if not stack:
            break
        reasons = read_reasons(name, started)
        if not THROTTLED.search(reasons) or time.monotonic() > deadline:
            sys.exit(f"The stack {name} could not be deleted: it is in {stack['StackStatus']}\n{reasons}")
        print(">> API Gateway deletes one API in 30 s. Once more in 30 s", flush=True)
        time.sleep(30)
    print(f">> there is no stack {name} in {os.environ['AWS_REGION']}", flush=True)


def read_settings(name: str) -> dict[str, str]:
    """The settings of .env that the stack's outputs become."""
    outputs = {each.get("Description", ""): each["OutputValue"] for each in wait(name).get("Outputs", [])}
    return {text.split()[-1]: value for text, value in outputs.items() if text.startswith("Saved to .env as ")}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    stack_name = sys.argv[sys.argv.index("--stack-name") + 1]
    if sys.argv[3] == "deploy":
        deploy(stack_name, sys.argv[1:])
        if settings := read_settings(stack_name):
            save_settings(settings)
    else:
        forget_settings(read_settings(stack_name))
        delete(stack_name)
