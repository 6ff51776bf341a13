"""Draws the READMEs' pictures of a terminal: README.md's first calls, and a run of `make rehearse`.

`make pictures` runs it. The tests and screen readers read a picture's text from its <desc>.
"""

import io
import re
import subprocess
import sys
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURES = ROOT / ".github/pictures"
READMES = (
    *("README.md", "aws/README.md", "aws/behind_lambda.md", "aws/console.md", "aws/troubleshooting.md"),
    "tests/README.md",
)
CALL = "ENV_FILE=.env.local .venv/bin/python examples/call_route.py /hello/"
API, REHEARSAL = "run_api.svg", "rehearse.svg"
COLUMNS = 76
# The colors of GitHub's code blocks: text, background, border, done and note. Each light one with its dark one.
TEXT, BACKGROUND, BORDER, DONE, NOTE = "#1f2328", "#f6f8fa", "#d1d9e0", "#1a7f37", "#59636e"
DARK = {TEXT: "#f0f6fc", BACKGROUND: "#151b23", BORDER: "#3d444d", DONE: "#3fb950", NOTE: "#9198a1"}
STYLES = {"$ ": f"bold {TEXT}", "✓ ": DONE, "# ": NOTE}
# GitHub loads no font for a picture. So it names those of the reader's system. rich's own format loads one.
FORMAT = f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{{width}}" height="{{height}}" viewBox="0 0 {{width}} {{height}}">
<title/>
<style>
:root {{{{ color-scheme: light dark; }}}}
rect {{{{ stroke: {BORDER}; }}}}
text {{{{ font: {{char_height}}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}}}
{{styles}}
</style>
<defs>{{lines}}</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})">
{{matrix}}
</g>
</svg>
"""


class Command(NamedTuple):
    text: str
    output: list[str]


def read_blocks(page: str) -> list[list[Command]]:
    """The console blocks of a page: their commands, each with the lines under it."""
    blocks = re.findall(r"^( *)```console\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    texts = [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]
    commands = [re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE) for text in texts]
    return [[Command(text, output.splitlines()) for text, output in block] for block in commands]


def find_block(first: str) -> list[Command]:
    """The block that begins with a command."""
    blocks = [block for name in READMES for block in read_blocks((ROOT / name).read_text())]
    (found,) = [block for block in blocks if block[0].text == first]
    return found


def show_api() -> list[str]:
    """README.md's blocks of `make run_api` and of the calls. A test compares the blocks with a run."""
    server, calls = (
        [line for text, output in find_block(first) for line in [*f"$ {text}".splitlines(), *output]]
        for first in ("make run_api", CALL)
    )
    return [*server, "", "# in another terminal", *calls]


def run_rehearsal() -> list[str]:
    output = subprocess.run(["make", "--no-print-directory", "rehearse"], cwd=ROOT, capture_output=True, text=True)
    if output.returncode or "✓ stopped everything. 0 skipped" not in output.stdout:
        sys.exit(f"{output.stdout}{output.stderr}The picture needs a run that skips nothing")
    return ["$ make rehearse", *output.stdout.splitlines()]


def draw(lines: list[str]) -> str:
    # Only `make pictures` needs rich. The fast tests, which read the pictures, do without.
    from rich.color import Color
    from rich.console import Console
    from rich.terminal_theme import TerminalTheme
    from rich.text import Text

    background, text = (Color.parse(each).get_truecolor() for each in (BACKGROUND, TEXT))
    theme = TerminalTheme(background, text, [])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in lines:
        console.print(Text(line, STYLES.get(line[:2], "")))
    svg = console.export_svg(title="", theme=theme, code_format=FORMAT, unique_id="terminal")
    for light, dark in DARK.items():
        svg = svg.replace(light, f"light-dark({light}, {dark})")
    title = f"<title>A terminal with {escape(lines[0][2:])}</title>"
    return svg.replace("<title/>", f"{title}\n<desc>{escape(chr(10).join(lines), quote=False)}</desc>")


def read_picture(name: str) -> list[str]:
    """The lines that a picture shows."""
    (text,) = re.findall(r"<desc>(.*)</desc>", (PICTURES / name).read_text(), re.DOTALL)
    return unescape(text).splitlines()


def main() -> None:
    for name, lines in ((API, show_api()), (REHEARSAL, run_rehearsal())):
        (PICTURES / name).write_text(draw(lines))
        print(f">> drew .github/pictures/{name}")


if __name__ == "__main__":
    main()
