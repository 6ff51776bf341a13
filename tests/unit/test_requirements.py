"""requirements.lock: what requirements.txt needs, whole, in the versions that are tested here, and nothing else."""

import importlib.metadata
import re
from pathlib import Path

from helpers import PYTHON_VERSION, ROOT, read_requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def find_closure(names: set[str]) -> set[str]:
    """The distributions with everything that they need on this machine, as their own metadata says."""
    found: set[str] = set()
    while missing := names - found:
        found |= missing
        needs = [Requirement(line) for name in missing for line in importlib.metadata.requires(name) or []]
        names = {canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate()}
    return found


def measure_size(name: str) -> int:
    """The bytes of a distribution's files, with the bytecode that pip compiled."""
    paths = [Path(str(file.locate())) for file in importlib.metadata.files(name) or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_lock_has_the_direct_requirements_in_their_versions() -> None:
    assert read_requirements("requirements.txt").items() <= read_requirements("requirements.lock").items()


def test_lock_is_the_closure_of_the_direct_requirements() -> None:
    direct = set(read_requirements("requirements.txt"))
    assert find_closure(direct) == set(read_requirements("requirements.lock"))


def test_lock_pins_each_version_and_its_files_and_names_no_index() -> None:
    text = re.sub(r"^ *#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    pinned = r"[\w.-]+==\S+( ; .+)? \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert re.sub(pinned, "", text) == ""


def test_lock_is_what_the_tests_run_on() -> None:
    locked = read_requirements("requirements.lock")
    assert {name: importlib.metadata.version(name) for name in locked} == locked


def test_make_says_about_how_much_it_installs() -> None:
    """Extras are not in the closure. Other machines and Pythons differ a little."""
    packages, megabytes = re.findall(
        r">> installing .*: about (\d+) packages, (\d+) MB", (ROOT / "tests/tools.mk").read_text()
    )[0]
    installed = find_closure({*read_requirements("requirements.lock"), *read_requirements("requirements-dev.txt")})
    assert 0.8 < len(installed) / int(packages) < 1.2
    assert 0.7 < sum(map(measure_size, installed)) / 1e6 / int(megabytes) < 1.3


def test_conda_environment_has_the_python_of_the_image() -> None:
    assert f"  - python={PYTHON_VERSION}\n" in (ROOT / "environment.yml").read_text()
