"""README, Makefile, .env.example and the example agree."""

import json
import re
from typing import Annotated, Any

import pytest
from behind_lambda import make_handler
from fastapi import Depends, FastAPI, Request
from helpers import ROOT, load_event
from pictures import ANOTHER_TERMINAL, API, DOCS, READMES, find_block, hide_variable, read_picture
from test_same_as_uvicorn import DIFFERENCES, NOT_COMPARED

from app.app import app

GUIDE = (ROOT / "README.md").read_text()
README = "".join((ROOT / name).read_text() for name in READMES)
PAGES = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md")
MAKEFILE = "".join(
    (ROOT / name).read_text() for name in ("Makefile", "aws/destroy.mk", "aws/deployer.mk", "tests/tools.mk")
)
TARGETS = set(re.findall(r"^([a-z_]+):.* ## ", MAKEFILE, re.MULTILINE))
SETTINGS = re.findall(r"call setting,([A-Z_]+)", MAKEFILE)
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
ENV_VARIABLES = re.findall(r"^([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)


def test_env_example_names_what_the_guide_names() -> None:
    assert ENV_VARIABLES == [
        "AWS_ACCOUNT_ID",
        "AWS_REGION",
        "AWS_PERMISSIONS_BOUNDARY",
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
    assert named - knobs - example == {"LOG_LEVEL", "AWS_PROFILE", "AWS_IAM", "UPDATE_ROLLBACK_FAILED"}


def test_readme_shows_the_guides_event() -> None:
    shown = [json.loads(block) for block in re.findall(r"```json\n(\s*\{\s+\"resource.*?)```", GUIDE, re.DOTALL)]
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


def test_readme_shows_the_lines_of_its_picture() -> None:
    """`make pictures` records the picture again. README.md's output is a copy of it."""
    commands = find_block("make run_api") + find_block("bash")
    shown = [line for text, output in commands for line in [*f"$ {text}".splitlines(), *output]]
    recorded = [line for line in read_picture(API) if line != ANOTHER_TERMINAL]
    assert [hide_variable(line) for line in shown if line] == [hide_variable(line) for line in recorded if line]


def test_picture_of_the_page_docs_shows_the_routes() -> None:
    """Each route in it exists. A new route needs no new picture. `make pictures` draws one."""
    document = app.openapi()
    operations = [(path, *each) for path, methods in document["paths"].items() for each in methods.items()]
    routes = [(method.upper(), path, each["summary"]) for path, method, each in operations]
    shown = read_picture(DOCS)
    assert shown[0] == document["info"]["title"]
    lines = shown[shown.index("default") + 1 : shown.index("Schemas")]
    shown_routes = list(zip(lines[::3], lines[1::3], lines[2::3], strict=True))
    assert shown_routes
    assert [route for route in shown_routes if route not in routes] == []


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


def test_readme_lists_what_is_different_behind_lambda() -> None:
    table = GUIDE.split("## What is different behind Lambda")[1]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert dict(rows[: len(NOT_COMPARED)]).keys() == NOT_COMPARED
    assert [row for row in rows if row[0] not in NOT_COMPARED] == [
        (name, reason) for name, (reason, _) in DIFFERENCES.items()
    ]


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
