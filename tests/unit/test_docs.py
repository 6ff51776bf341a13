"""README, Makefile, .env.example and the example agree."""

import json
import re

import pytest
from helpers import ROOT, load_event

README = (ROOT / "README.md").read_text()
MAKEFILE = "".join((ROOT / name).read_text() for name in ("Makefile", "aws/destroy.mk", "tests/tools.mk"))
TARGETS = set(re.findall(r"^([a-z_]+):.* ## ", MAKEFILE, re.MULTILINE))
SETTINGS = re.findall(r"call from_env_file,([A-Z_]+)", MAKEFILE)
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
ENV_VARIABLES = re.findall(r"^([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)


def test_env_example_names_what_the_guide_names() -> None:
    assert ENV_VARIABLES == [
        "AWS_ACCOUNT_ID",
        "AWS_REGION",
        "AWS_LAMBDA_ROLE_ARN",
        "AWS_ACCESS_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "API_SECURE_ENDPOINT",
    ]


def test_env_example_explains_each_variable_in_the_line_above_and_sets_none() -> None:
    lines = ENV_EXAMPLE.splitlines()
    for name in ENV_VARIABLES:
        assert lines[lines.index(f"{name}=") - 1].startswith("# For ")


@pytest.mark.parametrize("name", ENV_VARIABLES)
def test_env_variable_has_one_spelling_everywhere(name: str) -> None:
    example = (ROOT / "examples/invoke_secure_routes.py").read_text()
    assert f"`{name}`" in README
    assert name in MAKEFILE + example
    assert f'"{name}"' in example or name in SETTINGS


def test_readme_names_every_target_and_none_that_is_not_there() -> None:
    made = set(re.findall(r"(?:`|\$ )make ([a-z_]+)", README))
    assert made - TARGETS == set()
    assert TARGETS - made - set(re.findall(r"`([a-z_]+)`", README)) == {"help", "build_image", "requirements"} - made


def test_readme_names_no_knob_that_is_not_there() -> None:
    knobs = {*re.findall(r"^([A-Z_]+) +[?:]= ", MAKEFILE, re.MULTILINE), *SETTINGS, "CONFIRM"}
    named = set(re.findall(r"\b([A-Z]+(?:_[A-Z]+)+)\b", README))
    example = {
        "API_SECURE_ENDPOINT",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
    assert named - knobs - example == {"LOG_LEVEL", "AWS_PROFILE"}


def test_readme_shows_the_guides_event() -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(\s*\{\s+\"resource.*?)```", README, re.DOTALL)]
    assert shown == [load_event("guide")]
