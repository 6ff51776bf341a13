"""How aws/env_file.py writes the settings that a step learns into .env."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT

SETTINGS = {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "a/b+c="}


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def write(
    env_file: Path, settings: dict[str, str], function: str = "save_settings"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import env_file; env_file.{function}({settings})"]
    environment = {**CLEAN_ENVIRONMENT, "ENV_FILE": str(env_file), "PYTHONPATH": str(ROOT / "aws")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "AWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        ("", "AWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        ("# mine\nA=1", "# mine\nA=1\nAWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        (
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY='old'\n\n# AWS_ACCESS_KEY=no\nAWS_ACCESS_KEY = \"old\" #\nB=ü $C",
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY=a/b+c=\n\n# AWS_ACCESS_KEY=no\nAWS_ACCESS_KEY=AKIA\nB=ü $C",
        ),
        (
            "AWS_ACCESS_KEY=1\nMY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3\n",
            "AWS_ACCESS_KEY=AKIA\nMY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3\nAWS_SECRET_ACCESS_KEY=a/b+c=\n",
        ),
    ],
)
def test_settings_are_written_in_place_and_no_other_line_changes(
    env_file: Path, before: str | None, after: str
) -> None:
    if before is not None:
        env_file.write_text(before)
        env_file.chmod(0o644)
    for _ in range(2):
        process = write(env_file, SETTINGS)
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout == f">> {env_file}: AWS_ACCESS_KEY, AWS_SECRET_ACCESS_KEY\n"
        assert env_file.read_text() == after
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]


def test_settings_follow_a_symlink(env_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "settings"
    real.parent.mkdir()
    real.write_text("A=1\n")
    env_file.symlink_to(real)
    write(env_file, {"B": "2"})
    assert (env_file.is_symlink(), real.read_text()) == (True, "A=1\nB=2\n")


def test_settings_are_all_written_or_none(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("A=1\n")
    monkeypatch.setenv("ENV_FILE", str(env_file))
    monkeypatch.delitem(sys.modules, "env_file", raising=False)
    import env_file as module

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        module.save_settings({"A": "2", "B": "3"})
    assert (env_file.read_text(), [path.name for path in env_file.parent.iterdir()]) == ("A=1\n", [".env"])


@pytest.mark.parametrize("value", ["two words", "a'b", "a\nB=1", "a#b", "$(date)"])
def test_value_that_env_cannot_hold_is_not_saved(env_file: Path, value: str) -> None:
    process = write(env_file, {"GOOD": "1", "BAD": value})
    assert (process.returncode, process.stdout, env_file.exists()) == (1, "", False)
    assert process.stderr.startswith("BAD: AWS returned no value that ")


def test_only_a_setting_that_still_has_the_value_is_forgotten(env_file: Path) -> None:
    env_file.write_text("A=1\nB=2\nC=\n")
    process = write(env_file, {"A": "1", "B": "1", "C": ""}, "forget_settings")
    assert (process.stdout, env_file.read_text()) == (f">> {env_file}: A\n", "A=\nB=2\nC=\n")


def test_nothing_is_written_when_nothing_is_forgotten(env_file: Path) -> None:
    assert write(env_file, {"A": "1"}, "forget_settings").returncode == 0
    assert not env_file.exists()
