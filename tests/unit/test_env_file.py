"""How aws/env_file.py writes the settings that a step learns into .env."""

import stat
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from forked_python import run_forked

SETTINGS = {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "a/b+c="}


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def run(env_file: Path, function: str, settings: dict[str, str], setup: str = "") -> CompletedProcess[str]:
    return run_forked(f"{setup}\nimport env_file; env_file.{function}({settings})", ENV_FILE=str(env_file))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "AWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n"),
        (
            "MY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3",
            "MY_AWS_ACCESS_KEY=2\nAWS_ACCESS_KEY_ID=3\nAWS_ACCESS_KEY=AKIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n",
        ),
        (
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY='old'\n\n# AWS_ACCESS_KEY=no\nAWS_ACCESS_KEY = \"old\" #\nB=ü $C",
            "A='x y' # why\nAWS_SECRET_ACCESS_KEY=a/b+c=\n\n# AWS_ACCESS_KEY=no\nAWS_ACCESS_KEY=AKIA\nB=ü $C",
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
        process = run(env_file, "save_settings", SETTINGS)
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
    run(env_file, "save_settings", {"B": "2"})
    assert (env_file.is_symlink(), real.read_text()) == (True, "A=1\nB=2\n")


def test_settings_are_all_written_or_none(env_file: Path) -> None:
    env_file.write_text("A=1\n")
    full_disk = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))"
    process = run(env_file, "save_settings", {"A": "2", "B": "3" * 6000}, full_disk)
    assert (process.returncode, env_file.read_text()) == (1, "A=1\n")
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]


@pytest.mark.parametrize("value", ["two words", "a'b", "a\nB=1", "a#b", "$(date)"])
def test_value_that_env_cannot_hold_is_not_saved(env_file: Path, value: str) -> None:
    process = run(env_file, "save_settings", {"GOOD": "1", "BAD": value})
    assert (process.returncode, process.stdout, env_file.exists()) == (1, "", False)
    assert process.stderr.startswith("BAD: AWS returned no value that ")


def test_only_a_setting_that_still_has_the_value_is_forgotten(env_file: Path) -> None:
    assert run(env_file, "forget_settings", {"A": "1"}).returncode == 0
    assert not env_file.exists()
    env_file.write_text("A=1\nB=2\nC=\n")
    process = run(env_file, "forget_settings", {"A": "1", "B": "1", "C": ""})
    assert (process.stdout, env_file.read_text()) == (f">> {env_file}: A\n", "A=\nB=2\nC=\n")
