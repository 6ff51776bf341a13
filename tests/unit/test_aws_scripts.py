"""The scripts in aws/ that a recipe cannot do without. A stand-in for the aws CLI answers as it is told."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import pytest
from dotenv import dotenv_values
from forked_python import run_forked
from helpers import CLEAN_ENVIRONMENT, ROOT, write_program

SCRIPT = """
import runpy, sys, time
time.sleep = lambda seconds: None
sys.argv = [*{command!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
STACK = ("aws/stack.py", "aws", "cloudformation")
DEPLOY = (*STACK, "deploy", "--stack-name", "a-stack", "--template-file", "a.yaml")
DELETE = (*STACK, "delete-stack", "--stack-name", "a-stack")
CREATE_KEY = ("aws/access_key.py", "create", "a-user")
LOOK = "describe-stacks"
# An answer is the exit code, and the text for each stream.
Answer = tuple[int, str, str]


class Result(NamedTuple):
    code: int
    stdout: str
    stderr: str
    calls: list[str]


Run = Callable[..., Result]


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.fixture
def run(tmp_path: Path, env_file: Path) -> Run:
    """Runs a command with an aws CLI that answers each operation in turn, and other calls never. Nothing sleeps."""

    def run(command: tuple[str, ...], **answers: list[Answer]) -> Result:
        calls = tmp_path / "calls"
        calls.touch()
        write_program(tmp_path / "sleep", "")
        write_program(tmp_path / "aws", f'cd "{tmp_path}"; echo "$2" >>calls; . "./$2.$(grep -cx "$2" calls)"')
        for operation, each in answers.items():
            for number, (code, stdout, stderr) in enumerate(each, start=1):
                text = f"printf %s {quote(stdout)}; printf %s {quote(stderr)} >&2; exit {code}"
                (tmp_path / f"{operation.replace('_', '-')}.{number}").write_text(text)
        environment = {"AWS_ACCOUNT_ID": "123456789012", "AWS_REGION": "eu-central-1", "ENV_FILE": str(env_file)}
        environment["PATH"] = f"{tmp_path}:{CLEAN_ENVIRONMENT['PATH']}"
        if command[0].endswith(".py"):
            process = run_forked(SCRIPT.format(command=command), **environment)
        else:
            environment = CLEAN_ENVIRONMENT | environment
            process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        return Result(process.returncode, process.stdout, process.stderr, calls.read_text().splitlines())

    return run


NO_STACK = (254, "", "An error occurred (ValidationError): Stack with id a-stack does not exist\n")
THROTTLED = (254, "", "An error occurred (Throttling) when calling the DescribeStacks operation: Rate exceeded\n")
OLD_CLI = (252, "", "aws: error: argument operation: Invalid choice\n")
FAILED = (255, "", "Failed to create\n")
DONE = (0, "", "")


def status(*statuses: str, **outputs: str) -> list[Answer]:
    """Answers of describe-stacks. A warning on stderr does not belong to them."""
    each_output = [{"Description": f"Saved to .env as {name}", "OutputValue": value} for name, value in outputs.items()]
    stacks = [{"Stacks": [{"StackStatus": each, "Outputs": each_output}]} for each in statuses]
    return [(0, json.dumps(stack), "urllib3 is old\n") for stack in stacks]


def events(*reasons: str, kind: str = "OperationEvents", key: str = "ResourceStatus", age: int = 0) -> list[Answer]:
    """One answer of describe-events, or of describe-stack-events, with these failures."""
    event = {"Timestamp": (datetime.now(UTC) - timedelta(seconds=age)).isoformat(), "LogicalResourceId": "Role"}
    failures = [{**event, key: "CREATE_FAILED", f"{key}Reason": reason} for reason in reasons]
    return [(0, json.dumps({kind: failures}), "")]


@pytest.mark.parametrize(
    ("looks", "calls"),
    [
        (["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "CREATE_COMPLETE"], [LOOK, LOOK, LOOK, "deploy"]),
        (["UPDATE_ROLLBACK_COMPLETE"], [LOOK, "deploy"]),
        (["REVIEW_IN_PROGRESS"], [LOOK, "deploy"]),
        ([THROTTLED, NO_STACK, THROTTLED], [LOOK, LOOK, "deploy", LOOK]),
        # A stack that could not be created makes room.
        *(
            ([failed, "DELETE_IN_PROGRESS", NO_STACK], [LOOK, "delete-stack", LOOK, LOOK, "deploy"])
            for failed in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
        ),
    ],
)
def test_deploy_waits_until_the_stack_is_settled(run: Run, looks: list[str | Answer], calls: list[str]) -> None:
    answers = [each if isinstance(each, tuple) else status(each)[0] for each in (*looks, "CREATE_COMPLETE")]
    result = run(DEPLOY, describe_stacks=answers, delete_stack=[DONE], deploy=[DONE])
    assert (result.code, result.stderr, result.calls) == (0, "", [*calls, LOOK])


@pytest.mark.parametrize("command", [DEPLOY, DELETE])
def test_failing_call_is_not_taken_for_no_stack(run: Run, command: tuple[str, ...]) -> None:
    assert run(command, describe_stacks=[(254, "", "ExpiredToken")]) == (1, "", "ExpiredToken\n", [LOOK])


@pytest.mark.parametrize(
    ("by_operation", "by_stack"),
    [
        (events("because"), []),
        # The check before any resource, whose reasons only describe-events has.
        (events("because", key="ValidationStatus"), []),
        ([OLD_CLI], events("because", kind="StackEvents")),
        (events(), events("because", kind="StackEvents")),
        (events("an earlier deployment", age=900), events("because", kind="StackEvents")),
    ],
)
def test_failing_deploy_gives_the_reasons(run: Run, by_operation: list[Answer], by_stack: list[Answer]) -> None:
    answers = {"describe_events": by_operation, "describe_stack_events": by_stack}
    result = run(DEPLOY, describe_stacks=[NO_STACK], deploy=[FAILED], **answers)
    said = "Failed to create\nThe stack a-stack could not be deployed:\nRole: because\n"
    assert (result.code, result.stderr) == (1, said)


def test_api_that_is_being_updated_is_waited_for(run: Run) -> None:
    busy = events("Resource handler returned message: There is already an update in progress for this API")
    looks = status(*["UPDATE_ROLLBACK_COMPLETE"] * 2, "UPDATE_COMPLETE")
    result = run(DEPLOY, describe_stacks=looks, deploy=[FAILED, DONE], describe_events=busy)
    assert (result.code, result.calls.count("deploy")) == (0, 2)
    assert ">> API Gateway still applies the last change of the API. Once more in 30 s\n" in result.stdout


def test_delete_waits_until_the_stack_is_gone(run: Run) -> None:
    looks = [*status("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "DELETE_IN_PROGRESS"), NO_STACK]
    result = run(DELETE, describe_stacks=looks, delete_stack=[DONE])
    message = ">> there is no stack a-stack in eu-central-1\n"
    assert result == (0, message, "", [LOOK, LOOK, "delete-stack", LOOK, LOOK])


def test_delete_forgets_a_setting_that_was_the_stacks_output(run: Run, env_file: Path) -> None:
    env_file.write_text("API_SECURE_ENDPOINT=https://a\nAWS_LAMBDA_ROLE_ARN=mine\n")
    outputs = {"API_SECURE_ENDPOINT": "https://a", "AWS_LAMBDA_ROLE_ARN": "arn:aws:iam::1:role/a"}
    run(DELETE, describe_stacks=[*status("CREATE_COMPLETE", **outputs), NO_STACK], delete_stack=[DONE])
    assert dotenv_values(env_file) == {"API_SECURE_ENDPOINT": "", "AWS_LAMBDA_ROLE_ARN": "mine"}


def test_delete_that_fails_at_once_is_not_repeated(run: Run) -> None:
    result = run(DELETE, describe_stacks=status("CREATE_COMPLETE"), delete_stack=[(254, "", "AccessDenied\n")])
    assert result == (1, "", "AccessDenied\n", [LOOK, "delete-stack"])


def test_delete_of_a_second_api_within_30_seconds_is_repeated(run: Run) -> None:
    looks = [*status("CREATE_COMPLETE", "DELETE_FAILED"), NO_STACK]
    result = run(DELETE, describe_stacks=looks, delete_stack=[DONE] * 2, describe_events=events("Too Many Requests"))
    assert (result.code, result.calls.count("delete-stack")) == (0, 2)


@pytest.mark.parametrize("left", ["DELETE_FAILED", "CREATE_COMPLETE"])
def test_delete_fails_with_the_reasons_while_the_stack_is_there(run: Run, left: str) -> None:
    looks = status("CREATE_COMPLETE", "DELETE_IN_PROGRESS", left)
    result = run(DELETE, describe_stacks=looks, delete_stack=[DONE], describe_events=events("has a key"))
    message = f"The stack a-stack could not be deleted: it is in {left}\nRole: has a key\n"
    assert result[:3] == (1, "", message)


NOT_SPREAD = "The role defined for the function cannot be assumed by Lambda."
NO_ACCESS = "Lambda does not have permission to access the ECR image. Check the ECR permissions."


@pytest.mark.parametrize(
    ("message", "code", "attempts"),
    [(NOT_SPREAD, 0, 2), (NO_ACCESS, 0, 2), ("Source image does not exist.", 254, 1)],
)
def test_only_a_new_role_or_repository_is_waited_for(run: Run, message: str, code: int, attempts: int) -> None:
    command = ("aws/retry_while_new", "aws", "lambda", "create-function")
    result = run(command, create_function=[(254, "", message), (0, "arn\n", "a warning\n")])
    assert (result.code, result.stdout, len(result.calls)) == (code, "arn\n" * (attempts - 1), attempts)
    assert message in result.stderr


EXAMPLE = ("aws/wait_for_api", "aws", "lambda", "an-example")
GOT_403 = "\nAssertionError: got 403: see aws/troubleshooting.md"
UNUSABLE = "No usable answer from API_SECURE_ENDPOINT: … "


@pytest.mark.parametrize(
    "failure",
    [
        '{"message":"Missing Authentication Token"}' + GOT_403,
        '{"message":"The security token included in the request is invalid."}' + GOT_403,
        '{"Message":"User: … is not authorized to perform: execute-api:Invoke"}' + GOT_403,
        '{"message":"Forbidden"}' + GOT_403,
        '{"message": "Internal server error"}\nAssertionError: got 500: see aws/troubleshooting.md',
        UNUSABLE + "NameResolutionError …",
        UNUSABLE + "NewConnectionError … Connection refused …",
        UNUSABLE + "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
    ],
)
def test_first_calls_are_repeated_until_two_succeed_in_a_row(run: Run, failure: str) -> None:
    """AWS may answer once, and then refuse again."""
    refused, answered = (1, "", failure), (0, "", "Invoking route: hello")
    result = run(EXAMPLE, an_example=[refused, answered, refused, answered, answered])
    assert (result.code, result.stdout, len(result.calls)) == (0, "Invoking route: hello\n", 5)
    assert result.stderr.count("everywhere yet: once more in 5 s") == 2


@pytest.mark.parametrize(
    "failure",
    [
        '{"message":"The request signature we calculated does not match …"}' + GOT_403,
        '{"message": "Internal server error"}\nAssertionError: got 502: see aws/troubleshooting.md',
        '{"message": "Internal server error"}\nAssertionError: the route failed: see the message above, and make logs',
        "AssertionError: everybody can call the method: set its authorization to AWS_IAM",
        UNUSABLE + "Read timed out.",
        UNUSABLE + "SSLError …",
        "AWS_ACCESS_KEY is not set, or has other than plain characters.",
    ],
)
def test_first_calls_are_not_repeated_after_a_failure_that_stays(run: Run, failure: str) -> None:
    assert run(EXAMPLE, an_example=[(1, "", failure)]) == (1, "", f"{failure}\n", ["an-example"])


@pytest.mark.parametrize(
    ("code", "account", "error", "advice"),
    [
        (
            255,
            "",
            "Could not connect to the endpoint URL: …\n",
            "AWS_REGION=eu-central-1 has no address. Take a region",
        ),
        (253, "", "Unable to locate credentials\n", "The aws CLI is not logged in: run aws login"),
        (0, "999999999999", "a warning\n", "The aws CLI is logged in to account 999999999999, and AWS_ACCOUNT_ID is"),
    ],
)
def test_require_says_why_it_is_not_the_account(run: Run, code: int, account: str, error: str, advice: str) -> None:
    result = run(("aws/require", "aws", "AWS_ACCOUNT_ID"), get_caller_identity=[(code, account, error)] * 2)
    assert (result.code, result.stderr.count("\n")) == (1, 2)
    assert result.stderr.startswith(error + advice)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("read-only", "{folder}/read-only is no file that can be written: chmod u+w it"),
        ("a-folder", "{folder}/a-folder is no file that can be written"),
        ("nowhere/.env", "The folder {folder}/nowhere cannot be written to"),
    ],
)
def test_require_names_an_env_file_that_cannot_be_written(run: Run, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "read-only").touch(mode=0o400)
    (tmp_path / "a-folder").mkdir()
    result = run(("env", f"ENV_FILE={tmp_path}/{name}", "aws/require", "ENV_FILE"))
    assert (result.code, result.stderr.startswith(said.format(folder=tmp_path))) == (1, True)


def list_keys(*keys: str) -> list[Answer]:
    return [(0, json.dumps({"AccessKeyMetadata": [{"AccessKeyId": key} for key in keys]}), "")]


KEY = [(0, json.dumps({"AccessKey": {"AccessKeyId": "AKIA", "SecretAccessKey": "hunter2"}}), "")]
UNKNOWN = (254, "", "An error occurred (InvalidClientTokenId)")


@pytest.mark.parametrize("before", ["", "AWS_ACCESS_KEY=OLD\nAWS_SECRET_ACCESS_KEY=s\n"], ids=["no key", "an old key"])
def test_access_key_is_saved_and_waited_for(run: Run, env_file: Path, before: str) -> None:
    env_file.write_text(before)
    identity = [UNKNOWN] * (2 if before else 1) + [DONE]
    result = run(CREATE_KEY, list_access_keys=list_keys(), create_access_key=KEY, get_caller_identity=identity)
    assert (result.code, result.stderr, "hunter2" in result.stdout) == (0, "", False)
    assert result.calls[-3:] == ["create-access-key", "get-caller-identity", "get-caller-identity"]
    assert dotenv_values(env_file) == {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "hunter2"}


@pytest.mark.parametrize("operation", ["list_access_keys", "create_access_key"])
def test_failing_call_saves_no_access_key(run: Run, env_file: Path, operation: str) -> None:
    result = run(CREATE_KEY, **{"list_access_keys": list_keys(), operation: [(254, "", "AccessDenied")]})
    assert (result.code, result.stderr, env_file.exists()) == (254, "AccessDenied", False)


@pytest.mark.parametrize("text", ["AWS_ACCESS_KEY=AKIA\n", "AWS_ACCESS_KEY=OTHER\nAWS_SECRET_ACCESS_KEY=s\n"])
def test_key_whose_secret_is_lost_is_named_with_the_way_out(run: Run, env_file: Path, text: str) -> None:
    env_file.write_text(text)
    result = run(CREATE_KEY, list_access_keys=list_keys("AKIA"))
    assert (result.code, result.calls, env_file.read_text()) == (1, ["list-access-keys"], text)
    assert "lacks the secret of a-user's key AKIA. Run make delete_invoker create_invoker" in result.stderr


@pytest.mark.parametrize(("current", "left"), [("AKIA", ""), ("OTHER", "OTHER")])
def test_deleted_key_is_forgotten_and_another_one_is_not(run: Run, env_file: Path, current: str, left: str) -> None:
    env_file.write_text(f"AWS_ACCESS_KEY={current}\nAWS_SECRET_ACCESS_KEY=s\n")
    command = ("aws/access_key.py", "delete", "a-user")
    result = run(command, list_access_keys=list_keys("AKIA"), delete_access_key=[DONE])
    assert (result.code, result.calls) == (0, ["list-access-keys", "delete-access-key"])
    assert dotenv_values(env_file)["AWS_ACCESS_KEY"] == left
