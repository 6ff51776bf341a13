"""README, Makefile, .env.example and the example agree."""

import json
import re
import textwrap
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from helpers import ROOT, load_event
from test_same_as_uvicorn import DIFFERENCES, NOT_COMPARED

from app.aws_lambda import create_handler

GUIDE = (ROOT / "README.md").read_text()
README = "".join((ROOT / name).read_text() for name in ("README.md", "aws/README.md", "tests/README.md"))
MAKEFILE = "".join(
    (ROOT / name).read_text() for name in ("Makefile", "aws/destroy.mk", "aws/deployer.mk", "tests/tools.mk")
)
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
    assert f"`{name}`" in GUIDE
    assert name in MAKEFILE + example
    assert f'"{name}"' in example or name in SETTINGS


def test_readme_names_every_target_and_none_that_is_not_there() -> None:
    made = set(re.findall(r"(?:`|\$ )make ([a-z_]+)", README))
    assert made - TARGETS == set()
    assert TARGETS - made - set(re.findall(r"`([a-z_]+)`", README)) == {"help", "build_image", "requirements"} - made


def test_no_text_names_a_target_that_make_help_does_not_show() -> None:
    """Words without an underscore count only in a command. Others may be English."""
    folders = ("app", "aws", "examples", "tests", ".github", ".ci")
    files = [
        *ROOT.glob("[!.]*"),
        ROOT / ".env.example",
        *(file for name in folders for file in (ROOT / name).rglob("*")),
    ]
    names = set()
    for file in files:
        if file.is_file() and file.suffix in ("", ".example", ".md", ".mk", ".py", ".txt", ".yaml", ".yml"):
            for start, words in re.findall(r"(`|\$ |[Rr]un )?\bmake ([a-z_]+(?: [a-z]+_[a-z_]+)*)", file.read_text()):
                names |= {(word, file.name) for word in words.split() if start or "_" in word}
    assert {name for name, _ in names} >= {"delete_invoker", "deploy", "run_api"}
    assert [name for name in names if name[0] not in TARGETS] == []


def test_readme_names_no_knob_that_is_not_there() -> None:
    knobs = {*re.findall(r"^([A-Z_]+) +[?:]=", MAKEFILE, re.MULTILINE), *SETTINGS, "CONFIRM"}
    named = set(re.findall(r"\b([A-Z]+(?:_[A-Z]+)+)\b", README))
    example = {
        "API_SECURE_ENDPOINT",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
    assert named - knobs - example == {"LOG_LEVEL", "AWS_PROFILE", "AWS_IAM"}


def test_readme_shows_the_guides_event() -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(\s*\{\s+\"resource.*?)```", GUIDE, re.DOTALL)]
    assert shown == [load_event("guide")]


def test_readmes_link_to_files_that_exist() -> None:
    for name in ("README.md", "aws/README.md", "tests/README.md"):
        path = ROOT / name
        links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
        assert [link for link in links if not (path.parent / link).exists()] == []


def test_readme_lists_what_is_different_behind_lambda() -> None:
    table = GUIDE.split("## What is different behind Lambda")[1]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert dict(rows[: len(NOT_COMPARED)]).keys() == NOT_COMPARED
    assert [row for row in rows if row[0] not in NOT_COMPARED] == [
        (name, reason) for name, (reason, _) in DIFFERENCES.items()
    ]


def test_readmes_dependency_reads_the_caller() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {"Request": Request}
    exec(textwrap.dedent("  " + code), names)  # noqa: S102
    app = FastAPI()

    @app.get("/hello/")
    async def read(caller: Annotated[str | None, Depends(names["get_caller"])]) -> str | None:
        return caller

    answer = create_handler(app)(load_event("rest_api"), None)
    assert json.loads(answer["body"]) == "arn:aws:iam::123456789012:user/hello-lambda-invoker"
    assert create_handler(app)(load_event("guide"), None)["body"] == "null"
