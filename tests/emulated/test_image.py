"""The image, built by the Makefile, and run by a Docker engine under Lambda's restrictions."""

import hashlib
import json
import re
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers import (
    BASE_IMAGE,
    BUILD_OUTPUTS,
    EVENTS,
    INVOCATIONS,
    LOCAL_IMAGE,
    PYTHON_VERSION,
    ROOT,
    load_event,
    read_requirements,
    run_make,
    running,
    skip_or_fail,
    wait_for,
)
from packaging.utils import canonicalize_name
from rehearse import find_free_port

NEXT_PYTHON = "3.15"
# A Lambda execution environment: only /tmp is writable, and the user owns no file.
RESTRICTIONS = ["--read-only", "--tmpfs=/tmp", "--user=993:990", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def run_in_image(image: str, *command: str) -> str:
    run = ["docker", "run", "--rm", *RESTRICTIONS, "--entrypoint", command[0], image, *command[1:]]
    process = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout


# Runs in the container, because no port leads into a container without a network.
CALL = f"""
import socket, sys, time, urllib.request
for _ in range(600):
    with socket.socket() as started:
        if started.connect_ex(("127.0.0.1", 8080)) == 0: break
    time.sleep(0.1)
url = "http://127.0.0.1:8080/{INVOCATIONS}"
print(urllib.request.urlopen(url, sys.stdin.buffer.read(), timeout=30).read().decode())
"""


@contextmanager
def running_container(image: str, memory: str = "128m") -> Iterator[str]:
    """Runs a container under Lambda's restrictions, with no network and little memory. Gives its name."""
    limits = ["--network=none", f"--memory={memory}", f"--memory-swap={memory}"]
    run = ["docker", "run", "--detach", *RESTRICTIONS, *limits, image]
    name = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[str]:
    with running_container(image) as name:
        yield name


def invoke(container: str, event: Any) -> Any:
    command = ["docker", "exec", "--interactive", container, "python3", "-c", CALL]
    process = subprocess.run(command, input=json.dumps(event), capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def inspect(name: str, field: str) -> str:
    command = ["docker", "inspect", "--format", f"{{{{{field}}}}}", name]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("name", EVENTS)
def test_container_answers_under_lambdas_restrictions(container: str, name: str) -> None:
    answer = invoke(container, load_event(name))
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')
    assert inspect(container, ".State.OOMKilled") == "false"


@pytest.mark.parametrize("event", [{}, [], None, "text", 3])
def test_container_answers_400_to_json_that_is_no_event(container: str, event: Any) -> None:
    assert invoke(container, event)["statusCode"] == 400


def test_container_answers_the_largest_event_in_little_memory(image: str) -> None:
    """Lambda accepts 6 MB. Here the emulator and the caller hold copies in the container, so it gets 256 MB."""
    with running_container(image, memory="256m") as name:
        answer = invoke(name, {**load_event("guide"), "body": "a" * 6_000_000})
        assert (answer["statusCode"], inspect(name, ".State.OOMKilled")) == (200, "false")


def test_image_answers_on_the_next_python(docker_engine: None) -> None:
    base, image = f"public.ecr.aws/lambda/python:{NEXT_PYTHON}", f"{LOCAL_IMAGE}-next"
    if subprocess.run(["docker", "image", "inspect", base], capture_output=True, timeout=60).returncode:
        skip_or_fail(f"needs {base}")
    build = ["docker", "build", "--build-arg", f"PYTHON_VERSION={NEXT_PYTHON}", "--tag", image, "."]
    process = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=600)
    BUILD_OUTPUTS.append(process.stdout)
    assert process.returncode == 0, process.stderr
    try:
        code = "import sys, app.app; print(sys.version_info[:2], sys.get_lazy_imports())"
        assert run_in_image(image, "python3", "-c", code) == f"({NEXT_PYTHON.replace('.', ', ')}) all\n"
        with running_container(image) as name:
            assert [invoke(name, load_event(event))["statusCode"] for event in EVENTS] == [200] * len(EVENTS)
    finally:
        subprocess.run(["docker", "rmi", image], capture_output=True, timeout=60)


def test_container_ends_at_once_at_sigterm(image: str) -> None:
    """Docker would send SIGKILL ten seconds later. The exit code would then be 137."""
    with running_container(image) as name:
        invoke(name, load_event("guide"))
        started = time.monotonic()
        subprocess.run(["docker", "stop", name], check=True, capture_output=True, timeout=60)
        assert time.monotonic() - started < 10
        assert inspect(name, ".State.ExitCode") == "0"


def test_image_answers_when_make_runs_it(image: str, tmp_path: Path) -> None:
    port = find_free_port()
    log = tmp_path / "log"
    name = f"hello-lambda-test-{port}"
    make = ["make", "run_container", f"LAMBDA_PORT={port}", f"LAMBDA_CONTAINER_NAME={name}"]
    with running(make, log=log, LOCAL_IMAGE=image):
        try:
            wait_for(f"http://127.0.0.1:{port}/")
            url = f"http://127.0.0.1:{port}/{INVOCATIONS}"
            answer = httpx.post(url, json=load_event("guide"), timeout=30).json()
        finally:
            subprocess.run(["docker", "stop", name], capture_output=True, timeout=60)
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')
    assert '"cold_start": true' in log.read_text()


def test_image_holds_only_the_locked_requirements_and_the_app(image: str) -> None:
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions(path=['/var/task'])]"
    installed = [line.split() for line in run_in_image(image, "python3", "-c", code).splitlines()]
    locked = read_requirements("requirements.lock")
    assert {canonicalize_name(name): version for name, version in installed} == locked
    task = set(run_in_image(image, "ls", "-A", "/var/task").split())
    assert "app" in task
    unwanted = {"tests", "examples", "Makefile", "Dockerfile", "README.md", ".env", ".git", ".venv", "package"}
    assert task & unwanted == set()


@pytest.fixture(scope="module")
def layers(image: str, tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    return read_layers(image, tmp_path_factory.mktemp("image"))


def read_layers(image: str, folder: Path) -> list[tarfile.TarInfo]:
    """The entries of the layers that an image adds to its base."""
    archive = folder / "image.tar"
    subprocess.run(["docker", "save", "--output", str(archive), image], check=True, timeout=120)
    below = len(json.loads(inspect(BASE_IMAGE, "json .RootFS.Layers")))
    with tarfile.open(archive) as saved:
        content = saved.extractfile("manifest.json")
        assert content
        (manifest,) = json.load(content)
        entries = []
        for name in manifest["Layers"][below:]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                entries += layer.getmembers()
    archive.unlink()
    return entries


def test_image_adds_nothing_outside_the_task_root(layers: list[tarfile.TarInfo]) -> None:
    assert {entry.name for entry in layers if not f"{entry.name}/".startswith("var/task/")} == {"var"}


def test_image_adds_no_program(layers: list[tarfile.TarInfo]) -> None:
    """No compiler, no pip, no shell: only libraries are executable."""
    programs = [entry.name for entry in layers if entry.isfile() and entry.mode & 0o111]
    assert [name for name in programs if not name.endswith(".so")] == []
    assert programs != []


def test_image_adds_no_cache_no_link_and_no_secret(layers: list[tarfile.TarInfo]) -> None:
    unwanted = re.compile(
        r"/\.(env|git|aws|ssh|netrc|cache|docker)|/_?cache/|/id_[a-z0-9]+$|\.(pem|key|p12|pfx|crt|h|c|a|o|whl)$"
    )
    assert [entry.name for entry in layers if unwanted.search(f"/{entry.name}")] == []
    assert [entry.name for entry in layers if not (entry.isfile() or entry.isdir())] == []


def test_image_adds_files_that_everybody_can_read_and_only_root_can_write(layers: list[tarfile.TarInfo]) -> None:
    assert {entry.uid for entry in layers} == {0}
    assert {oct(entry.mode & 0o7777) for entry in layers if entry.isdir()} == {"0o755"}
    assert {oct(entry.mode & 0o7777) for entry in layers if entry.isfile()} == {"0o644", "0o755"}


def test_image_has_every_module_compiled_unchecked_and_readable(image: str) -> None:
    """Flag 1 means that Python never compares the compiled file with its source (PEP 552)."""
    code = """
import importlib.util, os, pathlib, struct
for source in pathlib.Path("/var/task").rglob("*.py"):
    source.read_bytes()
    compiled = pathlib.Path(importlib.util.cache_from_source(source))
    if struct.unpack("<I", compiled.read_bytes()[4:8]) != (1,): print(source)
"""
    assert run_in_image(image, "python3", "-c", code) == ""
    count = "import pathlib; print(len([*pathlib.Path('/var/task').rglob('*.pyc')]))"
    assert int(run_in_image(image, "python3", "-c", count)) > 100


# A package that loads its names from its stub, and one with a template that is no Python.
PACKAGES = {
    "lazy_names": {
        "lazy_names/__init__.py": "import pathlib\nstub = pathlib.Path(__file__).with_suffix('.pyi').read_text()\n",
        "lazy_names/__init__.pyi": "from .names import one as one\n",
        "lazy_names/.agents/notes.md": "# Notes\n",
    },
    "made_projects": {
        "made_projects/__init__.py": "",
        "made_projects/templates/main.py": "import {{ cookiecutter.name }}\n",
    },
}


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """Writes a wheel, and returns its line for requirements.lock."""
    wheel, info = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in (files | metadata).items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files | metadata))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name} @ file:///build/{wheel.name} --hash=sha256:{digest}\n"


def test_image_keeps_every_file_of_a_package_and_builds_around_one_that_does_not_compile(
    image: str, checkout: Path
) -> None:
    lines = [write_wheel(checkout, name, files) for name, files in PACKAGES.items()]
    with (checkout / "requirements.lock").open("a") as lock:
        lock.writelines(lines)
    (checkout / ".dockerignore").write_text("*\n!requirements.lock\n!app\n!*.whl\n")
    dockerfile = checkout / "Dockerfile"
    dockerfile.write_text(
        dockerfile.read_text().replace("COPY requirements.lock ./", "COPY requirements.lock *.whl ./")
    )
    own = f"{image}-packages"
    build = run_make("build_image", "--directory", str(checkout), LOCAL_IMAGE=own)
    try:
        assert build.returncode == 0, build.stdout + build.stderr
        paths = [f"/var/task/{path}" for files in PACKAGES.values() for path in files]
        missing = f"import os; print([path for path in {paths} if not os.path.isfile(path)])"
        assert run_in_image(own, "python3", "-c", missing) == "[]\n"
        code = "import app.cold_start, lazy_names; print(lazy_names.stub)"
        assert run_in_image(own, "python3", "-c", code) == "from .names import one as one\n\n"
    finally:
        subprocess.run(["docker", "rmi", own], capture_output=True, timeout=60)


def test_image_is_not_built_around_a_mistake_in_the_application(image: str, checkout: Path) -> None:
    (checkout / "app/mistake.py").write_text("def (\n")
    build = run_make("build_image", "--directory", str(checkout), LOCAL_IMAGE=f"{image}-mistake")
    assert build.returncode == 2
    assert "mistake.py" in build.stdout


def docker_build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    build = ["docker", "build", "--force-rm", *options, "."]
    process = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=600)
    BUILD_OUTPUTS.append(process.stdout)
    return process


def build_and_read_layers(checkout: Path, name: str, folder: Path) -> list[tarfile.TarInfo]:
    """Builds an image of a checkout under a name, and deletes it again."""
    build = docker_build(checkout, "--tag", name)
    assert build.returncode == 0, build.stderr
    try:
        return read_layers(name, folder)
    finally:
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True, timeout=60)


VERSION = PYTHON_VERSION.replace(".", "")
PLANTED = [
    *(".env", ".git/planted", "app/.env", "app/secret.pem", f"app/__pycache__/planted.cpython-{VERSION}.pyc"),
    *("id_rsa", "app/id_rsa", "app/routers/credentials", "app/server.key", "planted/data.json", "README.md"),
    *("app/app.py~", "app/#app.py#", "app/.#app.py", "app/routers/.hello.py.swp", "app/routers/hello.py.orig"),
]


def test_image_is_the_same_with_other_files_in_the_checkout_and_another_umask(
    image: str, layers: list[tarfile.TarInfo], checkout: Path, tmp_path: Path
) -> None:
    for name in PLANTED:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("planted")
    subprocess.run(["chmod", "-R", "go-rwx", str(checkout)], check=True, timeout=60)
    built = build_and_read_layers(checkout, f"{image}-planted", tmp_path)
    assert sorted((entry.name, entry.mode) for entry in built) == sorted((entry.name, entry.mode) for entry in layers)


def test_image_holds_a_package_and_a_data_file_that_were_added_to_the_app(
    image: str, layers: list[tarfile.TarInfo], checkout: Path, tmp_path: Path
) -> None:
    (checkout / "app/words").mkdir()
    for name in ("__init__.py", "list.txt", "id_generator.py"):
        (checkout / "app/words" / name).write_text("")
    built = build_and_read_layers(checkout, f"{image}-added", tmp_path)
    added = {entry.name for entry in built if entry.isfile()} - {entry.name for entry in layers}
    folder = "var/task/app/words"
    compiled = {f"{folder}/__pycache__/{module}.cpython-{VERSION}.pyc" for module in ("__init__", "id_generator")}
    assert added == {f"{folder}/__init__.py", f"{folder}/list.txt", f"{folder}/id_generator.py"} | compiled


def test_image_holds_every_module_of_the_app(image: str) -> None:
    code = "import pathlib; [print(path) for path in pathlib.Path('app').rglob('*.py')]"
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "app").rglob("*.py")}
    assert set(run_in_image(image, "python3", "-c", code).splitlines()) == modules


def test_image_is_not_built_from_a_file_that_the_lock_does_not_name(image: str, checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub(r"(?<=sha256:)[0-9a-f]{64}", "0" * 64, lock.read_text()))
    process = docker_build(checkout)
    assert process.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in process.stdout + process.stderr


def test_image_names_handler_and_architecture(image: str) -> None:
    inspect = ["docker", "image", "inspect", "--format", "{{json .Config.Cmd}} {{.Architecture}}", image]
    output = subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.fullmatch(r'\["app\.\w+\.handler"\] amd64\n', output)


def test_lock_has_wheels_for_the_other_architecture(tmp_path: Path) -> None:
    """An x86_64 machine cannot run the build for arm64, but can download what it installs."""
    for platform in ("manylinux2014_aarch64", "manylinux2014_x86_64"):
        download = [
            *(
                "python3",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                f"--python-version={PYTHON_VERSION}",
            ),
            *(f"--platform={platform}", "--platform=manylinux_2_28_" + platform.split("_", 1)[1]),
            *("--dest", str(tmp_path / platform), "--requirement", str(ROOT / "requirements.lock")),
        ]
        process = subprocess.run(download, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
    compiled = {path.name.split("-")[0] for path in (tmp_path / "manylinux2014_aarch64").glob("*aarch64.whl")}
    assert "pydantic_core" in compiled
