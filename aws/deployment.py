"""What a deployment needs and a Makefile recipe cannot do: to look, wait, retry, and remember.

The Makefile calls it, a subcommand at a time, and it calls the aws CLI: every command that changes something
is shown before it runs. It needs the standard library only, and of the environment APP_NAME, ENV_FILE,
AWS_REGION and, where it is set, AWS_ENDPOINT_URL.
"""

import argparse
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

APP_NAME = os.environ["APP_NAME"]
ENV_FILE = Path(os.environ["ENV_FILE"])
AWS = ["aws", "--region", os.environ["AWS_REGION"]]
if os.environ.get("AWS_ENDPOINT_URL"):
    AWS += ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"]]

# Stands in .env for a key that is being made. Whoever finds it there was interrupted, and may delete the key.
PENDING_KEY = "being-created"

# In aws/api.yaml, the logical id of API Gateway's deployment, a snapshot of the API. CloudFormation takes another
# one only for another id: so each definition gets its checksum behind this.
DEPLOYMENT = "DeploymentOfDefinition"

# How long AWS is waited for, in seconds.
STACK_PATIENCE = 900
SPREAD_PATIENCE = 90


class StepError(Exception):
    """What went wrong and what to do next, for the reader's eyes."""


def run_aws(*arguments: str, shown: bool = True, env: Mapping[str, str] | None = None) -> str:
    """The output of an aws command.

    Raises:
        StepError: the command failed; holds what it said.
    """
    command = [*AWS, *arguments]
    if shown:
        print(f"+ {shlex.join(command)}", flush=True)
    process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
    if process.returncode:
        raise StepError((process.stderr or process.stdout).strip() or f"aws ended with {process.returncode}")
    return process.stdout


def wait_until(condition: Callable[[], bool], patience: float, what: str) -> None:
    deadline = time.monotonic() + patience
    pause = 0.5
    while not condition():
        if time.monotonic() > deadline:
            raise StepError(f"{what} took longer than {patience:.0f} s. Run the same target again to go on waiting")
        time.sleep(pause)
        pause = min(2 * pause, 5)


# The settings in .env


def check_env_file() -> None:
    """Raises StepError where settings could not be written: before anything is made that they would hold."""
    path = ENV_FILE.resolve()
    if path.exists() and not path.is_file():
        raise StepError(f"{ENV_FILE} is no file to write settings into: name another one with ENV_FILE=…")
    if path.exists() and not path.stat().st_mode & 0o200:
        raise StepError(f"{ENV_FILE} is read-only: chmod u+w {shlex.quote(str(ENV_FILE))}")
    if not os.access(path.parent, os.W_OK):
        raise StepError(f"{path.parent} cannot be written to: name a file elsewhere with ENV_FILE=…")


@contextmanager
def locked_env_file() -> Iterator[Path]:
    """The real file behind ENV_FILE, for one writer at a time. The lock is the folder's, and leaves nothing behind."""
    path = ENV_FILE.resolve()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(folder)


def save_settings(settings: Mapping[str, str]) -> None:
    """Writes settings into ENV_FILE, each in its line or else at the end, all of them or none.

    Every other line stays as it is. The file is the owner's alone (mode 600) from then on.
    """
    check_env_file()
    with locked_env_file() as path:
        # Not to lose a carriage return: no translation of line ends, neither here nor below.
        old = path.read_bytes().decode() if path.exists() else ""
        new = old
        for name, value in settings.items():
            new = _set_line(new, name, value)
        if new == old:
            return
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
            try:  # the file that tempfile makes has mode 600
                file.write(new.encode())
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    print(f">> {ENV_FILE}: {', '.join(settings)}", flush=True)


def _set_line(text: str, name: str, value: str) -> str:
    if not re.fullmatch(r"[\w./:+=@-]*", value, re.ASCII):
        raise StepError(f"{name} has a character that {ENV_FILE} cannot hold unquoted")
    lines = text.splitlines(keepends=True)
    own = [i for i, line in enumerate(lines) if re.match(rf"\s*(export\s+)?{name}\s*=", line)]
    for i in reversed(own[1:]):
        del lines[i]
    if own:
        ending = re.search(r"\r?\n?$", lines[own[0]])
        prefix = "export " if lines[own[0]].split("=")[0].split()[0] == "export" else ""
        lines[own[0]] = f"{prefix}{name}={value}{ending.group() if ending else ''}"
    else:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{name}={value}\n")
    return "".join(lines)


def read_setting(name: str) -> str:
    """A setting's value in ENV_FILE, unquoted; empty where there is none."""
    text = ENV_FILE.read_text() if ENV_FILE.is_file() else ""
    values: list[str] = re.findall(rf"^\s*(?:export\s+)?{name}\s*=[ \t]*['\"]?([^'\"\s#]*)", text, re.MULTILINE)
    return values[-1] if values else ""


def forget_settings(values: Mapping[str, str]) -> None:
    """Empties each setting that still has the value it is said to have."""
    stale = {name: "" for name, value in values.items() if value and read_setting(name) == value}
    if stale:
        save_settings(stale)


# Stacks


def describe_stack(name: str) -> dict[str, Any] | None:
    try:
        answer = run_aws("cloudformation", "describe-stacks", "--stack-name", name, "--output", "json", shown=False)
    except StepError as error:
        if "does not exist" in str(error):
            return None
        raise
    stack: dict[str, Any] = json.loads(answer)["Stacks"][0]
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


def settle_stack(name: str) -> dict[str, Any] | None:
    """The stack, once nothing is under way in it; None where there is none."""
    stack: dict[str, Any] | None = None

    def is_settled() -> bool:
        nonlocal stack
        stack = describe_stack(name)
        status = stack["StackStatus"] if stack else ""
        return not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS"

    wait_until(is_settled, STACK_PATIENCE, f"the stack {name}")
    return stack


def get_outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def deploy_stack(kind: str, parameters: list[str], save: Mapping[str, str]) -> None:
    """Makes the stack APP_NAME-kind be as aws/kind.yaml says, and writes outputs of it into ENV_FILE.

    `save` says which setting takes which output. A stack that could not be created is deleted and created anew:
    CloudFormation would refuse to go on with it.
    """
    if save:
        check_env_file()
    name = f"{APP_NAME}-{kind}"
    stack = settle_stack(name)
    if stack and stack["StackStatus"] in {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}:
        print(f">> the stack {name} is in {stack['StackStatus']}: it makes room for a new one", flush=True)
        delete_stack(kind, {})
    with rendered_template(kind, parameters) as template:
        try:
            output = run_aws(
                *("cloudformation", "deploy", "--stack-name", name, "--template-file", template),
                *("--capabilities", "CAPABILITY_NAMED_IAM", "--no-fail-on-empty-changeset"),
                *("--parameter-overrides", *parameters),
            )
        except StepError as error:
            raise StepError(f"{error}\n{explain_failure(name)}") from None
    print(output.strip().splitlines()[-1], flush=True)
    if save:
        outputs = get_outputs(settle_stack(name) or {})
        save_settings({setting: outputs[output] for setting, output in save.items()})


@contextmanager
def rendered_template(kind: str, parameters: list[str]) -> Iterator[str]:
    """The path of the template; of the API's, one with a checksum in the name of API Gateway's deployment."""
    template = Path("aws") / f"{kind}.yaml"
    text = template.read_text()
    if DEPLOYMENT not in text:
        yield str(template)
        return
    checksum = zlib.crc32("\n".join([text, *parameters]).encode())
    with tempfile.NamedTemporaryFile("w", prefix=f"{kind}-", suffix=".yaml") as file:
        file.write(text.replace(DEPLOYMENT, f"{DEPLOYMENT}{checksum:08x}"))
        file.flush()
        yield file.name


def explain_failure(name: str) -> str:
    """What CloudFormation says about the resources that failed: the CLI itself says only that some did."""
    query = "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]"
    arguments = ["describe-stack-events", "--stack-name", name, "--query", query, "--output", "text"]
    try:
        return run_aws("cloudformation", *arguments, shown=False).strip()
    except StepError:
        return ""


def delete_stack(kind: str, forget: Mapping[str, str]) -> None:
    """Deletes the stack APP_NAME-kind, and empties the settings that hold outputs of it.

    A user that the stack made loses its access keys first, since it could not be deleted with one.
    """
    name = f"{APP_NAME}-{kind}"
    stack = settle_stack(name)
    if not stack:
        print(f">> there is no stack {name} in {os.environ['AWS_REGION']}", flush=True)
        return
    outputs = get_outputs(stack)
    if "UserName" in outputs:
        delete_access_keys(outputs["UserName"])
    run_aws("cloudformation", "delete-stack", "--stack-name", name)
    left = settle_stack(name)
    if left:
        raise StepError(f"the stack {name} is in {left['StackStatus']}\n{explain_failure(name)}")
    forget_settings({setting: outputs.get(output, "") for setting, output in forget.items()})


# The invoker's access key


def create_access_key(user: str) -> None:
    """Makes the user's one access key and writes it into ENV_FILE, unless it is there already."""
    check_env_file()
    keys = list_access_keys(user)
    current = read_setting("AWS_ACCESS_KEY")
    if current in keys and read_setting("AWS_SECRET_ACCESS_KEY"):
        print(f">> {user} has an access key, and the key is in {ENV_FILE}", flush=True)
        return
    if keys and current != PENDING_KEY:
        raise StepError(
            f"{user} has the access key {keys[0]}, and {ENV_FILE} does not hold its secret. Put both into it; or, "
            f"where nobody has it any more, delete the user with its key, make delete_invoker, and try again"
        )
    if current and current != PENDING_KEY and is_accepted(current, read_setting("AWS_SECRET_ACCESS_KEY")):
        raise StepError(f"{ENV_FILE} holds {current}, a key of somebody else: move it away, and try again")
    # From here to the last line: whatever key there is, an interrupted run made it, and nobody knows its secret.
    save_settings({"AWS_ACCESS_KEY": PENDING_KEY, "AWS_SECRET_ACCESS_KEY": ""})
    for key in keys:
        run_aws("iam", "delete-access-key", "--user-name", user, "--access-key-id", key)
    key = json.loads(run_aws("iam", "create-access-key", "--user-name", user, "--output", "json"))["AccessKey"]
    save_settings({"AWS_ACCESS_KEY": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]})
    wait_until(
        lambda: is_accepted(key["AccessKeyId"], key["SecretAccessKey"]), SPREAD_PATIENCE, "spreading the new access key"
    )


def list_access_keys(user: str) -> list[str]:
    query = ["--query", "AccessKeyMetadata[].AccessKeyId", "--output", "json"]
    keys: list[str] = json.loads(run_aws("iam", "list-access-keys", "--user-name", user, *query, shown=False))
    return keys


def is_accepted(access_key: str, secret_access_key: str) -> bool:
    credentials = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_access_key}
    others = {name: value for name, value in os.environ.items() if name not in {"AWS_PROFILE", "AWS_SESSION_TOKEN"}}
    try:
        run_aws("sts", "get-caller-identity", shown=False, env={**others, **credentials})
    except StepError as error:
        if re.search("InvalidClientTokenId|SignatureDoesNotMatch", str(error)):
            return False
        raise
    return True


def delete_access_keys(user: str) -> None:
    keys = list_access_keys(user)
    for key in keys:
        run_aws("iam", "delete-access-key", "--user-name", user, "--access-key-id", key)
    if read_setting("AWS_ACCESS_KEY") in (*keys, PENDING_KEY):
        save_settings({"AWS_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY": ""})


# The function


def run_patiently(arguments: list[str]) -> None:
    """Runs an aws command again for as long as IAM has not spread the new role, and no other error."""
    deadline = time.monotonic() + SPREAD_PATIENCE
    while True:
        try:
            print(run_aws(*arguments).strip(), flush=True)
            return
        except StepError as error:
            if "cannot be assumed by Lambda" not in str(error) or time.monotonic() > deadline:
                raise
        print(">> IAM has not spread the new role yet: once more in 5 s", flush=True)
        time.sleep(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, option in (("deploy_stack", "--save"), ("delete_stack", "--forget")):
        command = commands.add_parser(name)
        command.add_argument("kind", help="the name of the template in aws/")
        command.add_argument(option, dest="settings", action="append", default=[], metavar="SETTING=OUTPUT")
    commands.choices["deploy_stack"].add_argument("parameters", nargs="*", metavar="PARAMETER=VALUE")
    commands.add_parser("create_access_key").add_argument("user")
    commands.add_parser("run_patiently").add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in getattr(chosen, "settings", []))
    match chosen.command:
        case "deploy_stack":
            deploy_stack(chosen.kind, [f"AppName={APP_NAME}", *chosen.parameters], settings)
        case "delete_stack":
            delete_stack(chosen.kind, settings)
        case "create_access_key":
            create_access_key(chosen.user)
        case "run_patiently":
            run_patiently(chosen.arguments)


if __name__ == "__main__":
    try:
        main()
    except (StepError, OSError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same target again to go on")
