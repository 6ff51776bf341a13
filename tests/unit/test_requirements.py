"""The locks: each has what its list of requirements needs, with hashes. requirements.lock is what the tests run on."""

import re

import pytest
from helpers import PYTHON_VERSION, ROOT, read_requirements

LOCKS = {
    "requirements.lock": "requirements.txt",
    "tests/requirements/dev.lock": "requirements-dev.txt",
    **{f"tests/requirements/{path.stem}.lock": str(path) for path in (ROOT / "tests/requirements").glob("*.txt")},
}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_the_direct_requirements_in_their_versions(lock: str) -> None:
    locked = read_requirements(lock)
    for name, version in read_requirements(LOCKS[lock]).items():
        assert version in ("", locked[name])


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_each_version_and_its_files_and_names_no_index(lock: str) -> None:
    text = re.sub(r"^ *#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    pinned = r"[\w.-]+==\S+( ; .+)? \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert re.sub(pinned, "", text) == ""


def test_make_installs_nothing_without_hashes() -> None:
    commands = re.findall(r"-m pip .*", (ROOT / "tests/tools.mk").read_text())
    assert commands
    assert [command for command in commands if "--require-hashes" not in command] == []


def test_conda_environment_has_the_python_of_the_image() -> None:
    assert f"  - python={PYTHON_VERSION}\n" in (ROOT / "environment.yml").read_text()
