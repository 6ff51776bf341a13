"""The workflow that deploys takes the Makefile's steps."""

import re

from helpers import ROOT, run_make

ACCOUNT = {"AWS_ACCOUNT_ID": "123456789012", "AWS_REGION": "eu-central-1"}


def test_deploy_workflow_takes_every_step_but_the_invokers() -> None:
    (target,) = re.findall(r"run: make (\w+)$", (ROOT / ".github/workflows/deploy.yaml").read_text(), re.MULTILINE)
    stacks, all_stacks = (
        re.findall(r"--stack-name (\S+)", run_make("--dry-run", each, **ACCOUNT).stdout) for each in (target, "deploy")
    )
    assert [*stacks, "hello-lambda-invoker"] == all_stacks
