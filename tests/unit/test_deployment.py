"""How aws/deployment.py writes what a step learned into .env."""

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT

SETTINGS = {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "a/b+c="}


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.fixture
def deployment(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in (("APP_NAME", "hello-lambda"), ("ENV_FILE", str(env_file)), ("AWS_REGION", "eu-central-1")):
        monkeypatch.setenv(name, value)
    sys.modules.pop("deployment", None)
    import deployment

    return deployment


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "AWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        ("", "AWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        ("# mine\nA=1", "# mine\nA=1\nAWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        (
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY='old'\n\n# AWS_ACCESS_KEY=no\nexport AWS_ACCESS_KEY = \"old\" #\nB",
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY=a/b+c=\n\n# AWS_ACCESS_KEY=no\nexport AWS_ACCESS_KEY=AKIA\nB",
        ),
        (
            "AWS_ACCESS_KEY=1\nMY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3\nAWS_ACCESS_KEY=4\n",
            "AWS_ACCESS_KEY=AKIA\nMY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3\nAWS_SECRET_ACCESS_KEY=a/b+c=\n",
        ),
        ("A=1\r\nAWS_ACCESS_KEY=\r\nB=ü\r\n", "A=1\r\nAWS_ACCESS_KEY=AKIA\r\nB=ü\r\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
    ],
)
def test_settings_are_written_in_place_and_nothing_else_is(
    deployment: ModuleType, env_file: Path, before: str | None, after: str
) -> None:
    if before is not None:
        env_file.write_bytes(before.encode())
    for _ in range(2):
        deployment.save_settings(SETTINGS)
        assert env_file.read_bytes().decode() == after
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]


def test_settings_are_read_back_as_make_and_dotenv_read_them(deployment: ModuleType, env_file: Path) -> None:
    env_file.write_text("A='one'\nB=\"two\" # and more\nexport C = three\nD=\nE=four\nE=five\n")
    assert [deployment.read_setting(name) for name in "ABCDEF"] == ["one", "two", "three", "", "five", ""]


def test_settings_follow_a_symlink(deployment: ModuleType, env_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "settings"
    real.parent.mkdir()
    real.write_text("A=1\n")
    env_file.symlink_to(real)
    deployment.save_settings({"B": "2"})
    assert (env_file.is_symlink(), real.read_text()) == (True, "A=1\nB=2\n")


def make_read_only(env_file: Path) -> None:
    env_file.write_text("A=1\n")
    env_file.chmod(0o400)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [(make_read_only, "is read-only: chmod u\\+w"), (Path.mkdir, "is no file to write settings into")],
)
def test_settings_that_cannot_be_written_are_said_so(
    deployment: ModuleType, env_file: Path, prepare: Callable[[Path], None], said: str
) -> None:
    prepare(env_file)
    before = env_file.stat()
    with pytest.raises(deployment.StepError, match=said):
        deployment.save_settings(SETTINGS)
    assert env_file.stat() == before


def test_settings_are_whole_or_not_there(
    deployment: ModuleType, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("A=1\n")

    def fail(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(deployment.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        deployment.save_settings(SETTINGS)
    assert (env_file.read_text(), [path.name for path in env_file.parent.iterdir()]) == ("A=1\n", [".env"])


@pytest.mark.parametrize("value", ["two words", "a'b", "a\nB=1", "a#b", "$(date)"])
def test_settings_take_no_value_that_would_have_to_be_quoted(
    deployment: ModuleType, env_file: Path, value: str
) -> None:
    with pytest.raises(deployment.StepError, match="A has a character"):
        deployment.save_settings({"A": value})
    assert not env_file.exists()


def test_settings_of_concurrent_runs_are_all_there(env_file: Path) -> None:
    env_file.write_text("# mine\n")
    code = "import deployment, sys; [deployment.save_settings({f'S{sys.argv[1]}_{i}': 'x'}) for i in range(20)]"
    environment = {"APP_NAME": "a", "ENV_FILE": str(env_file), "AWS_REGION": "r", "PYTHONPATH": str(ROOT / "aws")}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number)],
            env={**CLEAN_ENVIRONMENT, **environment},
            stdout=subprocess.DEVNULL,
        )
        for number in range(6)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 6
    first, *others = env_file.read_text().splitlines()
    assert first == "# mine"
    assert sorted(others) == sorted(f"S{number}_{i}=x" for number in range(6) for i in range(20))


def test_only_what_is_still_the_same_is_forgotten(deployment: ModuleType, env_file: Path) -> None:
    env_file.write_text("A=1\nB=2\n")
    deployment.forget_settings({"A": "1", "B": "1", "C": ""})
    assert env_file.read_text() == "A=\nB=2\n"
