"""The fixtures of all tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_leftovers import delete_build_steps
from helpers import BASE_IMAGE, BUILD_OUTPUTS, LOCAL_IMAGE, ROOT, require, run_make, skip_or_fail


def pytest_xdist_auto_num_workers() -> int:
    """What `--numprocesses=auto` means: one more than there are processors, since some tests wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first. A worker takes a whole file, and all workers should end together."""
    longest = ("test_interrupted_deploy.py", "test_deploy.py", "test_rehearse.py", "test_make_it_yours.py")
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else len(longest))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean checkout of this tree as it is now, in a path with a space."""
    require("git")
    copy = tmp_path / "a checkout"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "a commit"]):
        subprocess.run([*git, *command], cwd=copy, check=True, timeout=60)
    return copy


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    require("docker")
    if subprocess.run(["docker", "version"], capture_output=True, timeout=60).returncode:
        skip_or_fail("needs a Docker engine that answers `docker version`")
    yield
    for output in reversed(BUILD_OUTPUTS):
        delete_build_steps(output)


@pytest.fixture(scope="session")
def image(docker_engine: None) -> Iterator[str]:
    """The image, built by the Makefile, with a tag of its own."""
    for command in (["docker", "image", "inspect", BASE_IMAGE], ["docker", "pull", BASE_IMAGE]):
        if subprocess.run(command, capture_output=True, timeout=600).returncode == 0:
            break
    else:
        skip_or_fail(f"needs {BASE_IMAGE}, which could not be pulled")
    build = run_make("build_image")
    assert build.returncode == 0, build.stderr
    yield LOCAL_IMAGE
    subprocess.run(["docker", "rmi", LOCAL_IMAGE], capture_output=True, timeout=60)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[dict[str, str]]:
    from account import running_emulator  # needs botocore, which the fast tests do without

    with running_emulator(tmp_path) as settings:
        yield settings
