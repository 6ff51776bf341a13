"""How the rehearsal takes and shows its steps, without an emulated account."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import ROOT, run_python
from rehearse import NEEDS, run_after

STEP = """
import sys, time
sys.path.append("tests/programs")
from rehearse import shown_while_running
with shown_while_running("a step"):
    time.sleep(0.5)
print("ended")
"""


def test_every_step_of_deploy_needs_only_earlier_ones() -> None:
    (steps,) = re.findall("^deploy: check_account requirements (.*) ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert list(NEEDS) == steps.split()
    for step, needed in NEEDS.items():
        assert set(needed) <= {"build_image", *steps.split(f"{step} ")[0].split()}


def test_step_starts_when_the_steps_that_it_needs_have_ended() -> None:
    ended = threading.Event()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ended.wait, 30)
        second = pool.submit(run_after, [first], lambda: f"first ended: {ended.is_set()}")
        ended.set()
        assert second.result()[0] == "first ended: True"


def test_step_does_not_start_after_one_that_failed() -> None:
    def fail() -> None:
        raise RuntimeError("no templates today")

    started: list[str] = []
    with ThreadPoolExecutor() as pool:
        second = pool.submit(run_after, [pool.submit(fail)], lambda: started.append("second"))
        with pytest.raises(RuntimeError, match="no templates today"):
            second.result()
    assert started == []


@pytest.mark.parametrize("terminal", [True, False])
def test_running_step_is_shown_on_a_terminal_alone_and_without_escape_sequences(terminal: bool) -> None:
    code = f"import pty; pty.spawn({[sys.executable, '-c', STEP]})" if terminal else STEP
    process = run_python(code)
    assert ("  a step 0 s" in process.stdout) == terminal
    assert process.stdout.endswith("ended\n")
    assert "\x1b" not in process.stdout
