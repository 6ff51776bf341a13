"""The rehearsal's checks of the deployed API, and of the account after `make destroy`."""

import json
import re
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearse import Rehearsal


def invoke(rehearsal: "Rehearsal") -> str:
    output = rehearsal.run("make", "invoke")
    answers = [json.loads(each)["body"] for each in re.findall(r'{"statusCode".*', output)]
    return f"{' and '.join(answers)} signed, {output.count('Missing Authentication Token')} unsigned"


def call_with_curl(rehearsal: "Rehearsal") -> None:
    if "--aws-sigv4" not in rehearsal.run("curl", "--help", "all"):
        rehearsal.skip("curl --aws-sigv4", "curl is older than 7.75")
        return
    settings = rehearsal.read_settings()
    key, secret = settings["AWS_ACCESS_KEY"], settings["AWS_SECRET_ACCESS_KEY"]
    own = rehearsal.function.path
    for path, status in ((own, 200), (own.rstrip("/"), 200), ("/nothing", 404)):
        action = partial(call, rehearsal, key, secret, path, status)
        rehearsal.step(f"curl --aws-sigv4 GET {path}", action)
    rehearsal.step("curl unsigned: 403", partial(call, rehearsal, "", ""))
    rehearsal.step("curl with a wrong secret: 403", partial(call, rehearsal, key, "wrong"))
    rehearsal.step("curl with an unknown key: 403", partial(call, rehearsal, "AKIAIOSFODNN7EXAMPLE", secret))
    rehearsal.step("curl as a user whom no policy allows: 403", partial(call_as_stranger, rehearsal))


def call(rehearsal: "Rehearsal", access_key: str, secret: str, path: str = "", status: int = 403) -> str:
    """Calls a path of the API's stage, signed if there is a key, and returns the body of the answer.

    Without a path, it is that of examples/event.json.
    """
    settings = rehearsal.read_settings()
    url = settings["API_SECURE_ENDPOINT"].rsplit("/", 1)[0] + (path or rehearsal.function.path)
    options = ["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]
    # The secret goes to standard input: every user of the machine can read a command line.
    sign = f'user = "{access_key}:{secret}"\naws-sigv4 = "aws:amz:{settings["AWS_REGION"]}:execute-api"\n'
    output = rehearsal.run("curl", *options, "--config", "-", url, stdin=sign if access_key else "")
    answer, code = output.rsplit("\n", 1)
    if int(code) != status:
        raise RuntimeError(f"expected {status}, got {code}: {answer}")
    return answer


def call_as_stranger(rehearsal: "Rehearsal") -> str:
    iam = rehearsal.function.connect("iam")
    iam.create_user(UserName="a-stranger")
    key = iam.create_access_key(UserName="a-stranger")["AccessKey"]
    answer = call(rehearsal, key["AccessKeyId"], key["SecretAccessKey"])
    iam.delete_access_key(UserName="a-stranger", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="a-stranger")
    return answer


def send_load(rehearsal: "Rehearsal", load: int) -> str:
    # A fast machine would exceed the limits of the stage.
    settings = rehearsal.read_settings()
    *_, api, stage, _ = settings["API_SECURE_ENDPOINT"].split("/")
    limits = [
        {"op": "replace", "path": f"/*/*/throttling/{limit}", "value": str(load)}
        for limit in ("rateLimit", "burstLimit")
    ]
    rehearsal.function.connect("apigateway").update_stage(restApiId=api, stageName=stage, patchOperations=limits)
    answer = call(rehearsal, settings["AWS_ACCESS_KEY"], settings["AWS_SECRET_ACCESS_KEY"], status=200)
    command = (rehearsal.environment["PYTHON"], "tests/programs/load.py", str(load), rehearsal.function.path, answer)
    return rehearsal.run(*command, timeout=900 + load).strip()


def check_nothing_is_left(rehearsal: "Rehearsal") -> None:
    for service, operation, kind, name in (
        ("cloudformation", "describe_stacks", "Stacks", "StackName"),
        ("apigateway", "get_rest_apis", "items", "name"),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("iam", "list_users", "Users", "UserName"),
        ("iam", "list_roles", "Roles", "RoleName"),
        ("iam", "list_policies", "Policies", "PolicyName"),
        ("ecr", "describe_repositories", "repositories", "repositoryName"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ):
        things = getattr(rehearsal.function.connect(service), operation)()[kind]
        # AWS makes roles for itself, with another path, and policies in no account.
        own = [thing for thing in things if thing.get("Path", "/") == "/" and "::aws:" not in thing.get("Arn", "")]
        if left := [thing[name] for thing in own]:
            raise RuntimeError(f"{service} {operation} still shows {', '.join(left)}")
