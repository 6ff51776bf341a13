"""The workflow that deploys takes the Makefile's steps."""

import re

from helpers import ROOT


def test_deploy_workflow_takes_every_step_but_the_invokers() -> None:
    makefile, workflow = ((ROOT / name).read_text() for name in ("Makefile", ".github/workflows/deploy.yaml"))
    steps = re.findall(r"^deploy: check_account requirements ([\w ]+) ##", makefile, re.MULTILINE)[0].split()
    assert re.findall(r"run: make (.*)", workflow) == [
        " ".join(step for step in steps if step != "create_invoker"),
    ]
