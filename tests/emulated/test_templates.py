"""The scanners that `make lint` runs: each template widened, one way at a time, has to be refused."""

import json
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT, run_make, skip_or_fail

WILDCARD_ACTION = "GenericResourceWildcardPolicyRule"
ESCALATION = "PrivilegeEscalationRule"
# The template, what is replaced in it, by what, and the check that fails then.
WIDENED = {
    "everybody takes the role": ("role", "Service: lambda.amazonaws.com", "AWS: '*'", "CKV_AWS_60"),
    "the role writes every log": ("role", "Resource: !GetAtt LogGroup.Arn", "Resource: '*'", "CKV_AWS_111"),
    "the role does anything to its log": ("role", "- logs:PutLogEvents", "- logs:*", WILDCARD_ACTION),
    "the invoker does anything": ("invoker", "Action: execute-api:Invoke", "Action: '*'", "CKV_AWS_107"),
    "the invoker manages the API": ("invoker", "Action: execute-api:Invoke", "Action: execute-api:*", WILDCARD_ACTION),
    "the deployer writes a user's policy": ("deployer", "- iam:CreateUser", "- iam:PutUserPolicy", ESCALATION),
    "the deployer does anything to a role": ("deployer", "- iam:GetRole\n", "- iam:*\n", WILDCARD_ACTION),
    "everybody pulls the image": ("repository", "Service: lambda.amazonaws.com", "AWS: '*'", "CKV_AWS_32"),
    "Lambda does anything to the image": ("repository", "- ecr:BatchGetImage", "- ecr:*", WILDCARD_ACTION),
    "everybody calls the API": ("api", "AuthorizationType: AWS_IAM", "AuthorizationType: NONE", "CKV_AWS_59"),
    "every API invokes the function": ("api", "      SourceArn: ", "      EventSourceToken: ", "CKV_AWS_364"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The checks that each widened template fails."""
    if run_make(".scanners/bin/harper").returncode:
        skip_or_fail("needs checkov and cfripper, which could not be installed")
    folder = tmp_path_factory.mktemp("templates")
    files = {case: folder / f"{case}.yaml" for case in WIDENED}
    for case, (template, old, new, _) in WIDENED.items():
        files[case].write_text((ROOT / f"aws/{template}.yaml").read_text().replace(old, new))
    checkov = scan("checkov", "--directory", str(folder), "--framework=cloudformation", "--skip-download", "-o=json")
    cfripper = scan(
        "cfripper",
        "--logging=ERROR",
        "--format=json",
        f"--rules-filters-folder={ROOT}/.cfripper",
        *map(str, files.values()),
    ).splitlines()
    failed = json.loads(checkov)["results"]["failed_checks"]
    return {
        case: {each["check_id"] for each in failed if Path(each["file_path"]).stem == case}
        | {each["rule"] for each in json.loads(result)["failures"]}
        for case, result in zip(files, cfripper, strict=True)
    }


def scan(tool: str, *arguments: str) -> str:
    command = [str(ROOT / ".scanners/bin" / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize("case", WIDENED)
def test_scanners_refuse_a_template_that_allows_more(found: dict[str, set[str]], case: str) -> None:
    assert WIDENED[case][-1] in found[case]
