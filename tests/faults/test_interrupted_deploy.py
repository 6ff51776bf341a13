"""Every aws call of a deployment and of its end fails, or is killed, in turn: running the same again completes it.

The aws CLI is the real one, behind a stand-in that counts the calls. docker is a stand-in that pushes an empty
image, since what docker does is tested elsewhere; what is at stake here is the account and .env.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest
from account import EVERYTHING, NOTHING, connect, list_everything, running_emulator
from helpers import CLEAN_ENVIRONMENT, OWN_PYTHON, ROOT, require

# The n-th call is carried out, but its answer is lost; or the n-th call that changes something is killed on its way,
# with all of make. A call that is refused, and a call that only reads and is killed, leave what a lost one left.
FAULTS = ("lost", "killed")
AWS = """#!/bin/sh
case "$FAULT $*" in
killed*\\ describe-* | killed*\\ list-* | killed*\\ get-* | killed*\\ wait\\ *) exec "$FAULTLESS_AWS" "$@" ;;
esac
n=$(($(cat "$FAULT_FOLDER/calls") + 1))
echo $n >"$FAULT_FOLDER/calls"
[ $n = "$FAULT_CALL" ] || exec "$FAULTLESS_AWS" "$@"
case $FAULT in
lost) "$FAULTLESS_AWS" "$@" >/dev/null 2>&1; echo "Connection was closed before we received a valid response" >&2 ;;
killed) "$FAULTLESS_AWS" "$@" >/dev/null 2>&1 & sleep 0.$FAULT_DELAY; kill -9 0 ;;
esac
exit 254
"""
DOCKER = """#!/bin/sh
case $1 in
login) [ -n "$(cat)" ] ;;
push) exec "$FAULTLESS_AWS" --endpoint-url "$AWS_ENDPOINT_URL" ecr put-image \
  --repository-name hello-lambda --image-tag "${2##*:}" --image-manifest '{"schemaVersion": 2}' ;;
esac
"""


class Account:
    """An emulated account, and make behind the two stand-ins."""

    def __init__(self, folder: Path, emulator: dict[str, str], fault: str) -> None:
        self.folder, self.emulator, self.fault = folder, emulator, fault
        self.env_file = Path(emulator["ENV_FILE"])
        self.env_file.write_text("# the user's own\nMINE='a b' # kept\n")
        for name, program in (("faulty-aws", AWS), ("docker", DOCKER)):
            (folder / name).write_text(program)
            (folder / name).chmod(0o755)

    def make(self, *targets: str, fault_call: int = 0) -> tuple[int, str, bool]:
        """make's exit code and output, and whether it came as far as the call that fails."""
        (self.folder / "calls").write_text("0")
        environment = {
            **CLEAN_ENVIRONMENT,
            **OWN_PYTHON,
            **self.emulator,
            "PATH": f"{self.folder}:{self.emulator['PATH']}",
            "CONFIRM": "yes",
            "REAL_AWS": str(self.folder / "faulty-aws"),
            "FAULTLESS_AWS": self.emulator["REAL_AWS"],
            "FAULT": self.fault,
            "FAULT_FOLDER": str(self.folder),
            "FAULT_CALL": str(fault_call),
            "FAULT_DELAY": str(3 + fault_call % 5),
        }
        with (self.folder / "log").open("w+") as log:
            process = subprocess.Popen(
                ["make", *targets],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = process.wait(timeout=300)
        return code, (self.folder / "log").read_text(), int((self.folder / "calls").read_text()) >= fault_call

    def complete(self, *targets: str) -> None:
        code, log, _ = self.make(*targets)
        if code and "Run make delete_invoker create_invoker" in log:  # the secret of the new key was lost
            code, log, _ = self.make("delete_invoker", "create_invoker")
        assert code == 0, log

    def check_env_file(self) -> None:
        """Whole, each setting once, and nothing of the user's changed; beside it no half-written one."""
        lines = self.env_file.read_text().splitlines()
        assert lines[:2] == ["# the user's own", "MINE='a b' # kept"]
        names = [line.split("=")[0] for line in lines[2:]]
        assert len(names) == len(set(names)), lines
        assert all("=" in line for line in lines[2:]), lines


def try_each_fault(folder: Path, scenario: Callable[[Account], None]) -> None:
    """Plays a scenario with each kind of fault, each in an account of its own, all at once: they mostly wait."""
    require("aws")

    def try_fault(fault: str) -> None:
        (folder / fault).mkdir()
        with running_emulator(folder / fault) as emulator:
            scenario(Account(folder / fault, emulator, fault))

    with ThreadPoolExecutor() as pool:
        for done in as_completed([pool.submit(try_fault, fault) for fault in FAULTS]):
            done.result()


def fail_each_call(account: Account, *command: str) -> Iterator[int]:
    """Runs make with each of its aws calls failing in turn; gives after each the number of the call."""
    for call in range(1, 100):
        code, log, reached = account.make(*command, fault_call=call)
        account.check_env_file()
        if not reached:
            assert code == 0, log
            return
        assert code == (-signal.SIGKILL if account.fault == "killed" else 2), log
        yield call
    pytest.fail("make never came to an end")


# A step, and how to undo it.
STEPS = (
    ("create_ecr_repository", "delete_ecr_repository"),
    ("deploy_to_ecr", ""),
    ("create_lambda_role", "delete_lambda_role"),
    ("create_lambda_function", "delete_lambda_function"),
    ("update_lambda_function", ""),
    ("create_api", "delete_api"),
    ("create_invoker", "delete_invoker"),
)


def undo_step(account: Account, step: str) -> None:
    """Deletes what the step made. It calls no aws CLI: that would take most of the time of this test."""
    if step == "create_lambda_function":
        connect(account.emulator, "lambda").delete_function(FunctionName="hello-lambda")
        return
    if step == "create_invoker":
        iam, user = connect(account.emulator, "iam"), "hello-lambda-invoker"
        for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    stacks, name = connect(account.emulator, "cloudformation"), f"hello-lambda-{step.split('_')[-1]}"
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def test_deploy_completes_after_a_fault_at_any_call(tmp_path: Path) -> None:
    try_each_fault(tmp_path, deploy_with_faults)


def deploy_with_faults(account: Account) -> None:
    for step, undo in STEPS:
        faults = 0
        before, settings_before = list_everything(account.emulator), account.env_file.read_text()
        for _ in fail_each_call(account, step):
            faults += 1
            account.complete(step)
            there = list_everything(account.emulator)
            assert all(set(there[kind]) <= set(EVERYTHING[kind]) and len(there[kind]) <= 1 for kind in there), there
            account.check_env_file()
            if undo:
                undo_step(account, step)
                account.env_file.write_text(settings_before)
                assert list_everything(account.emulator) == before
        assert faults >= 1 or (account.fault, step) == ("killed", "deploy_to_ecr")  # it only reads
    assert list_everything(account.emulator) == EVERYTHING
    settings = dict(line.split("=", 1) for line in account.env_file.read_text().splitlines()[2:])
    assert all(settings.values())
    assert set(settings) == {*("AWS_LAMBDA_ROLE_ARN", "API_SECURE_ENDPOINT", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")}


def test_destroy_completes_after_a_fault_at_any_call(tmp_path: Path) -> None:
    try_each_fault(tmp_path, destroy_with_faults)


def destroy_with_faults(account: Account) -> None:
    steps = {undo: step for step, undo in STEPS if undo}
    account.complete(*(step for step, _ in STEPS))
    for undo in reversed(steps):
        faults = 0
        for _ in fail_each_call(account, undo):
            faults += 1
            account.complete(undo)
            account.check_env_file()
            account.complete(steps[undo])
        assert faults >= 1
    assert list_everything(account.emulator) == NOTHING
    settings = dict(line.split("=", 1) for line in account.env_file.read_text().splitlines()[2:])
    assert not any(settings.values())
    for _ in fail_each_call(account, "destroy", "destroy_steps="):
        assert "nothing is left" not in (account.folder / "log").read_text()
    account.complete("destroy")
