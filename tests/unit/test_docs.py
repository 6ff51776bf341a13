"""README, Makefile, .env.example and the example agree."""

import json
import re
from typing import Annotated, Any

import pytest
from behind_lambda import make_handler
from fastapi import Depends, FastAPI, Request
from helpers import ROOT, load_event
from pictures import API, READMES, read_picture, show_api
from test_same_as_uvicorn import DIFFERENCES

README = "".join((ROOT / name).read_text() for name in READMES)
PAGES = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md")
MAKEFILE = "".join(
    (ROOT / name).read_text() for name in ("Makefile", "aws/destroy.mk", "aws/deployer.mk", "tests/tools.mk")
)
TARGETS = set(re.findall(r"^([a-z_]+):.* ## ", MAKEFILE, re.MULTILINE))
SETTINGS = re.findall(r"call setting,([A-Z_]+)", MAKEFILE)
ENV_VARIABLES = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [*SETTINGS, "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "API_SECURE_ENDPOINT"])
def test_env_example_explains_each_variable_and_sets_none(name: str) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert lines[lines.index(f"{name}=") - 1].startswith("# For ")
    assert name in SETTINGS or f'"{name}"' in (ROOT / "examples/invoke_secure_routes.py").read_text()


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
    others = {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "LOG_LEVEL", "AWS_PROFILE", "AWS_IAM", "UPDATE_ROLLBACK_FAILED"}
    assert named - knobs - set(ENV_VARIABLES) - others == set()


def test_readme_shows_the_guides_event() -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(\s*\{\s+\"resource.*?)```", README, re.DOTALL)]
    assert shown == [load_event("guide")]


def test_readmes_link_to_files_and_headings_that_exist() -> None:
    for name in READMES:
        path = ROOT / name
        for link in re.findall(r"\]\(([^):]+)\)", path.read_text()):
            # GitHub has a page for each workflow, at an address beside the files.
            link = re.sub(r"^\.\./\.\./actions(/workflows/[^/]+).*", r".github\1", link)
            target, _, anchor = link.partition("#")
            file = path.parent / target if target else path
            assert file.exists(), link
            headings = re.findall(r"^#+ (.*)", file.read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


def test_picture_shows_the_blocks_of_readme() -> None:
    assert read_picture(API) == show_api(), "README.md has changed. Run make pictures"


def read_sentences(page: str) -> list[str]:
    """The sentences of a page. A piece of code or a link's address in them counts as one word."""
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]+`", "Code", re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text))
    # An item, a row, a cell, a heading or an empty line ends a sentence, too.
    parts = re.split(r"\n\s*\n|\n\s*(?=[-#>|]|\d\. )|\|", text)
    return [" ".join(each.split()) for part in parts for each in re.split(r"(?<=[.?!])[*)]*\s+(?=[(*A-Z])", part)]


@pytest.mark.parametrize("page", PAGES)
def test_page_has_short_sentences_without_latin(page: str) -> None:
    """Other words are refused by Harper, in `make lint`. A rule of Harper cannot name an abbreviation with a period."""
    sentences = read_sentences(page)
    assert [each for each in sentences if re.search(r"\b(e\.g|i\.e|etc)\.", each, re.IGNORECASE)] == []
    assert [each for each in sentences if len(each.split()) > 24 or each.count(": ") > 1] == []


def test_page_lists_what_is_different_behind_lambda() -> None:
    table = (ROOT / "aws/behind_lambda.md").read_text().split("## What is different")[1]
    rows = set(re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE))
    assert {(name, reason) for name, (reason, _) in DIFFERENCES.items()} - rows == set()


def test_readmes_dependency_reads_the_caller() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {"Request": Request}
    exec(code, names)  # noqa: S102
    app = FastAPI()

    @app.get("/hello/")
    async def read(caller: Annotated[str | None, Depends(names["get_caller"])]) -> str | None:
        return caller

    answer = make_handler(app)(load_event("rest_api"), None)
    assert json.loads(answer["body"]) == "arn:aws:iam::123456789012:user/hello-lambda-invoker"
    assert make_handler(app)(load_event("guide"), None)["body"] == "null"
