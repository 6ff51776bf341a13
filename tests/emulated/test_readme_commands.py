"""The commands of the READMEs' console blocks print what the READMEs show. They run in a fresh copy of the repository.

They differ from the printed ones in the ports, which are free ones, and in `.env`: the settings are those of `make run_api`.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import CLEAN_ENVIRONMENT, OWN_PYTHON, ROOT, require, wait_for
from pictures import CALL, READMES, Command, find_block, read_blocks
from rehearse import find_free_port

# As after `. .venv/bin/activate`.
ENVIRONMENT = CLEAN_ENVIRONMENT | OWN_PYTHON | {"PATH": f"{sys.prefix}/bin:{CLEAN_ENVIRONMENT['PATH']}"}
HELLO = "curl http://localhost:5000/hello/"
INVOKE = "curl http://localhost:9000/2015-03-31/functions/function/invocations -d @examples/event.json"
CURL = (
    '(. ./.env; echo "user = $AWS_ACCESS_KEY:$AWS_SECRET_ACCESS_KEY" | \\\n'
    '  curl -K - --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" "${API_SECURE_ENDPOINT%/*}/hello/")'
)
LOG_LEVEL = (
    "aws lambda update-function-configuration --region eu-central-1 --function-name hello-lambda \\\n"
    "  --environment 'Variables={LOG_LEVEL=DEBUG}'"
)
# By the first command of each block.
RUN_HERE = {"make run_api", CALL, "make invoke", CURL, HELLO, INVOKE}
NOT_RUN_HERE = {
    "make create_deployer GITHUB_REPOSITORY=owner/name GITHUB_REPOSITORY_ID=1234 GITHUB_ENVIRONMENT=production": "needs an AWS account and a "
    "repository on GitHub: test_deployer.py runs it in an emulated account",
    "ENV_FILE=.env .venv/bin/python aws/access_key.py delete hello-lambda-invoker": "needs an AWS account: `make delete_invoker` runs "
    "it in an emulated one, in test_deploy.py",
    '(eval "$(aws configure export-credentials --format env)"; .venv/bin/python examples/invoke_secure_routes.py)': "needs a role: "
    "test_example_refusals.py runs the example with a role of an emulated account",
    LOG_LEVEL: "needs an AWS account, with the function in it",
}

# These parts differ from run to run.
VARIABLE = {
    r"\d+\.\d+ s\b|\b\d+ s in all": "… s",
    r"(127\.0\.0\.1|localhost):\d+": r"\1:…",
    r"\.env\.local\.\d+": ".env.local",
    r"aws-cli/[\d.]+": "aws-cli/…",
    r"\d+ KB": "… KB",
    r":main:\d+": ":main:…",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "…",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}": "…",
}
LIMIT = 600  # seconds for one command
MARK = "### the command has ended"
QUIET_CURL = 'curl() { command curl --no-progress-meter "$@"; }; export -f curl\n'


def test_each_block_is_run_or_has_a_reason() -> None:
    blocks = [block for name in READMES for block in read_blocks((ROOT / name).read_text())]
    assert {block[0].text for block in blocks} == RUN_HERE | NOT_RUN_HERE.keys()


def hide_variable(text: str) -> str:
    for pattern, replacement in VARIABLE.items():
        text = re.sub(pattern, replacement, text)
    return text


def start(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_lines(process: subprocess.Popen[str], last: str = "") -> list[str]:
    """Returns the lines of a process, until the last line or the end of the process."""
    lines = []
    limit = threading.Timer(LIMIT, os.killpg, [process.pid, signal.SIGKILL])
    limit.start()
    assert process.stdout
    for text in process.stdout:
        lines.append(text.rstrip())
        if last and hide_variable(lines[-1]) == hide_variable(last):
            break
    limit.cancel()
    return lines


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a server as Ctrl-C does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=LIMIT)


def run_block(commands: list[str], folder: Path, environment: dict[str, str]) -> list[list[str]]:
    """Runs commands in one shell, as one types them one after the other. Returns the output of each."""
    # The commands are the shell's input: `bash` among them starts another shell, which reads on until `exit`.
    # Behind each comes an empty line, since curl ends its output without one, and a mark.
    outputs: list[list[str]] = [[]]
    with start("bash", folder, environment) as process:
        assert process.stdin
        process.stdin.write(QUIET_CURL + "".join(f"{command}\necho; echo '{MARK}'\n" for command in commands))
        process.stdin.close()
        for line in read_lines(process):
            if line == MARK:
                outputs.append([])
            elif line:
                outputs[-1].append(line)
    return outputs[:-1]


@contextmanager
def serving(command: str, checkout: Path, *, url: str) -> Iterator[None]:
    server = start(command, checkout, ENVIRONMENT)
    try:
        wait_for(url, seconds=120)
        yield
    finally:
        stop(server)


def check(block: list[Command], checkout: Path, *changes: tuple[str, str]) -> None:
    """Runs a block with changed ports and files, and compares its output.

    Where the README has a line `…`, the command may print more lines than shown.
    """
    commands = [command.text for command in block]
    for old, new in changes:
        commands = [command.replace(old, new) for command in commands]
    outputs = run_block(commands, checkout, ENVIRONMENT)
    for command, output in zip(block, outputs, strict=True):
        shown = [hide_variable(line) for line in command.output if line != "…"]
        printed = [hide_variable(line) for line in output]
        rest = iter(printed)
        in_order = all(line in rest for line in shown)
        assert in_order if "…" in command.output else printed == shown, printed


def test_secured_api_and_its_calls_print_what_the_readme_shows(checkout: Path) -> None:
    require("aws", "curl", "bash")
    port = find_free_port()
    (checkout / ".emulator").symlink_to(ROOT / ".emulator")  # README shows a later run, which installs nothing
    (shown,) = find_block("make run_api")
    server = start(f"make --no-print-directory run_api API_PORT={port}", checkout, ENVIRONMENT)
    try:
        printed = read_lines(server, shown.output[-1])
        assert [hide_variable(line) for line in printed] == [hide_variable(line) for line in shown.output]
        changes = ((".env.local", f".env.local.{port}"), (".venv/bin/python", "python"), (":8000/", f":{port}/"))
        check(find_block(CALL), checkout, *changes)
        settings = f"make --no-print-directory ENV_FILE=.env.local.{port}"
        check(find_block("make invoke"), checkout, ("make", settings))
        check(find_block(CURL), checkout, ("./.env", f"./.env.local.{port}"))
    finally:
        stop(server)


def test_application_on_uvicorn_prints_what_the_readme_shows(checkout: Path) -> None:
    require("curl", "bash")
    port = find_free_port()
    with serving(f"make run_app APP_PORT={port}", checkout, url=f"http://127.0.0.1:{port}/hello/"):
        check(find_block(HELLO), checkout, ("5000", str(port)))


@pytest.mark.skipif(sys.platform != "linux", reason="the Lambda emulator runs on Linux only")
def test_lambda_emulator_prints_what_the_readme_shows(checkout: Path) -> None:
    require("curl", "bash")
    port = find_free_port()
    with serving(f"make run_lambda LAMBDA_PORT={port}", checkout, url=f"http://127.0.0.1:{port}/"):
        check(find_block(INVOKE), checkout, ("9000", str(port)))
