"""How the rehearsal shows its steps and finds the aws CLI, without an emulated account."""

import os
import sys
from pathlib import Path

import pytest
from helpers import run_python
from rehearse import find_package

STEP = """
import sys, time
sys.path.append("tests/programs")
from rehearse import shown_while_running
with shown_while_running("a step"):
    time.sleep(0.5)
print("ended")
"""


# As `pyenv rehash` writes it.
SHIM = """#!/usr/bin/env bash
program="${0##*/}"
export PYENV_ROOT="/home/me/.pyenv"
exec "/home/me/.pyenv/libexec/pyenv" exec "$program" "$@"
"""


def test_aws_cli_behind_a_shim_of_pyenv_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    for name, text in (
        ("aws", SHIM),
        ("pyenv", f"#!/bin/sh\necho {program}\n"),
        ("program", "#!/opt/bin/python3.14\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_package(str(tmp_path / "aws")) == ("/opt/bin/python3.14", str(program))


@pytest.mark.parametrize("terminal", [True, False])
def test_running_step_is_shown_on_a_terminal_alone_and_without_escape_sequences(terminal: bool) -> None:
    code = f"import pty; pty.spawn({[sys.executable, '-c', STEP]})" if terminal else STEP
    process = run_python(code)
    assert ("  a step 0 s" in process.stdout) == terminal
    assert process.stdout.endswith("ended\n")
    assert "\x1b" not in process.stdout
