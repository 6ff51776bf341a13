"""The locks: each has what its list of requirements needs, with hashes. requirements.lock is what the tests run on."""

import importlib.metadata
import re

import pytest
from helpers import PYTHON_VERSION, ROOT, read_requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = {
    "requirements.lock": "requirements.txt",
    "tests/requirements/dev.lock": "requirements-dev.txt",
    **{f"tests/requirements/{path.stem}.lock": str(path) for path in (ROOT / "tests/requirements").glob("*.txt")},
}


def find_closure(names: set[str]) -> set[str]:
    """The distributions with everything that they need on this machine, as their own metadata says."""
    found: set[str] = set()
    while missing := names - found:
        found |= missing
        needs = [Requirement(line) for name in missing for line in importlib.metadata.requires(name) or []]
        names = {canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate()}
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_the_direct_requirements_in_their_versions(lock: str) -> None:
    locked = read_requirements(lock)
    for name, version in read_requirements(LOCKS[lock]).items():
        assert version in ("", locked[name])


@pytest.mark.parametrize("lock", ["requirements.lock", "tests/requirements/dev.lock"])
def test_lock_is_the_closure_of_the_direct_requirements_and_what_the_tests_run_on(lock: str) -> None:
    locked = read_requirements(lock)
    assert find_closure(set(read_requirements(LOCKS[lock]))) == locked.keys()
    assert {name: importlib.metadata.version(name) for name in locked} == locked


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
