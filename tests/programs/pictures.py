"""Draws README.md's pictures: two of a terminal, from a real run of its console blocks, and one of the page /docs.

`make pictures` runs it. A picture has its whole text in <desc> too, for screen readers and for the tests.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from html import escape, unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURES = ROOT / ".github/pictures"
READMES = (
    *("README.md", "aws/README.md", "aws/behind_lambda.md", "aws/console.md", "aws/troubleshooting.md"),
    "tests/README.md",
)
CALL = "ENV_FILE=.env.local .venv/bin/python examples/call_route.py /hello/"
ANOTHER_TERMINAL = "# in another terminal"
API, REHEARSAL, DOCS = "run_api.svg", "rehearse.svg", "docs.svg"
# These parts differ from run to run.
VARIABLE = {
    r"\d+\.\d+ s\b|\b\d+ s in all": "… s",
    r"(127\.0\.0\.1|localhost):\d+": r"\1:…",
    r"\.env\.local\.\d+": ".env.local",
    r"aws-cli/[\d.]+": "aws-cli/…",
    r"\d+ KB": "… KB",
    r":main:\d+": ":main:…",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "…",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}": "…",
}
LIMIT = 600  # seconds for one command
MARK = "### the command has ended"
QUIET_CURL = 'curl() { command curl --no-progress-meter "$@"; }; export -f curl\n'

# Of a picture: its width in characters, and sizes in pixels.
COLUMNS, CHARACTER, ROW, MARGIN = 80, 7.5, 18, 16
# A picture waits this many seconds for a line, at most.
PAUSE = 0.7
STYLE = """
text { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
rect { fill: #f6f8fa; stroke: #d1d9e0; } text { fill: #1f2328; }
.command { font-weight: 600; } .done { fill: #1a7f37; } .note { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  rect { fill: #151b23; stroke: #3d444d; } text { fill: #f0f6fc; } .done { fill: #3fb950; } .note { fill: #9198a1; }
}
g { animation: appear 0.1s both; }
@keyframes appear { from { opacity: 0.2; } }
@media (prefers-reduced-motion: reduce) { g { animation: none; } }
"""
PAGE_STYLE = "rect { fill: #fff; stroke: #d1d9e0; } text { white-space: pre; }"
# The lines of pdftohtml for a font and for a text. The font of a shadow has an opacity too, and does not match.
FONT = r'<fontspec id="(\d+)" size="(\d+)" family="(\S+)" color="(\S+)"/>'
TEXT = r'<text top="(\d+)" left="(\d+)" width="(\d+)" height="(\d+)" font="(\d+)">(.*)</text>'
KINDS = {"$ ": "command", "✓ ": "done", "# ": "note"}


class Command(NamedTuple):
    text: str
    output: list[str]


class Line(NamedTuple):
    seconds: float
    text: str


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


def hide_variable(text: str) -> str:
    for pattern, replacement in VARIABLE.items():
        text = re.sub(pattern, replacement, text)
    return text


def start(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_lines(process: subprocess.Popen[str], last: str = "") -> list[Line]:
    """Returns the lines of a process with their times, until the last line or the end of the process."""
    lines = []
    limit = threading.Timer(LIMIT, os.killpg, [process.pid, signal.SIGKILL])
    limit.start()
    assert process.stdout
    for text in process.stdout:
        lines.append(Line(time.monotonic(), text.rstrip()))
        if last and hide_variable(lines[-1].text) == hide_variable(last):
            break
    limit.cancel()
    return lines


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a server as Ctrl-C does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=LIMIT)


def run_block(commands: list[str], folder: Path, environment: dict[str, str]) -> list[list[Line]]:
    """Runs commands in one shell, as one types them one after the other. Returns the output of each."""
    # The commands are the shell's input: `bash` among them starts another shell, which reads on until `exit`.
    # Behind each comes an empty line, since curl ends its output without one, and a mark.
    outputs: list[list[Line]] = [[]]
    with start("bash", folder, environment) as process:
        assert process.stdin
        process.stdin.write(QUIET_CURL + "".join(f"{command}\necho; echo '{MARK}'\n" for command in commands))
        process.stdin.close()
        for line in read_lines(process):
            if line.text == MARK:
                outputs.append([])
            elif line.text:
                outputs[-1].append(line)
    return outputs[:-1]


def record_api(environment: dict[str, str]) -> list[Line]:
    """`make run_api`, and the calls that README.md shows below it."""
    (server,), calls = find_block("make run_api"), find_block(CALL)
    process = start(server.text, ROOT, environment)
    try:
        output = read_lines(process, server.output[-1])
        lines = [Line(output[0].seconds, f"$ {server.text}"), *output]
        lines += [Line(time.monotonic(), text) for text in ("", ANOTHER_TERMINAL)]
        for call, output in zip(calls, run_block([each.text for each in calls], ROOT, environment), strict=True):
            seconds = output[0].seconds if output else lines[-1].seconds
            lines += [Line(seconds, text) for text in f"$ {call.text}".splitlines()] + output
    finally:
        stop(process)
    return lines


def record_rehearsal(environment: dict[str, str]) -> list[Line]:
    with start("make rehearse", ROOT, environment) as process:
        output = read_lines(process)
    return [Line(output[0].seconds, "$ make rehearse"), *output]


def record_docs(environment: dict[str, str]) -> tuple[str, str]:
    """The shapes and the texts of the page /docs, as Chromium prints it and Poppler reads it."""
    server = start(f'"{sys.executable}" -m uvicorn app.app:app --port 0', ROOT, environment)
    try:
        assert server.stdout
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            pdf = f"{folder}/docs.pdf"
            # Chromium's sandbox refuses root, the usual user in a container. The budget lets the page load Swagger UI.
            options = [f"--user-data-dir={folder}", "--no-pdf-header-footer", "--virtual-time-budget=10000"]
            options += ["--no-sandbox"] if os.geteuid() == 0 else []
            chromium = ["chromium", "--headless", *options, f"--print-to-pdf={pdf}", f"{address}/docs"]
            subprocess.run(chromium, check=True, stderr=subprocess.DEVNULL, timeout=LIMIT)
            shapes = ["pdftocairo", "-svg", "-l", "1", pdf, "-"]
            texts = ["pdftohtml", "-xml", "-stdout", "-i", "-l", "1", "-zoom", "3", pdf]
            return subprocess.check_output(shapes, text=True), subprocess.check_output(texts, text=True)
    finally:
        stop(server)


def draw(lines: list[Line], title: str) -> str:
    """An SVG of a terminal. Each line is pale until it was printed. Long waits are shortened."""
    groups, row, shown = [], 0, 0.0
    for before, line in zip([lines[0], *lines], lines, strict=False):
        shown += min(line.seconds - before.seconds, PAUSE)
        kind = KINDS.get(line.text[:2], "")
        texts = []
        for part in re.findall(f".{{1,{COLUMNS}}}", line.text) or [""]:
            row += 1
            place = f'x="{MARGIN}" y="{MARGIN + ROW * row - 5}" textLength="{len(part) * CHARACTER}"'
            texts.append(f'<text {place} class="{kind}">{escape(part, quote=False)}</text>' if part else "")
        groups.append(f'<g style="animation-delay: {shown:.1f}s">{"".join(texts)}</g>')
    width, height = round(COLUMNS * CHARACTER) + 2 * MARGIN, ROW * row + 2 * MARGIN
    return frame(groups, width, height, title, "\n".join(line.text for line in lines), STYLE)


def draw_docs(shapes: str, texts: str) -> str:
    """An SVG of the page /docs. Its text stays text, because the outlines of the letters would be ten times as large."""
    paths = re.findall(r"<path [^>]*/>", shapes.partition("</defs>")[2])
    paths = [re.sub(r"\d+\.\d+", lambda number: f"{round(float(number[0]), 2):g}", path) for path in paths]
    fonts = {font: rest for font, *rest in re.findall(FONT, texts)}
    found = [each for each in re.findall(TEXT, texts) if each[-2] in fonts]
    shown = [re.sub("<.*?>", "", content) for *_, content in found]
    if not shown:
        sys.exit("The page /docs is empty. Chromium must reach cdn.jsdelivr.net, from which the page loads Swagger UI")
    drawn = []
    for (top, left, width, height, font, content), text in zip(found, shown, strict=True):
        size, family, color = fonts[font]
        name = "monospace" if "Mono" in family else "Helvetica, Arial, sans-serif"
        style = f"font: {'bold' if '<b>' in content else 'normal'} {size}px {name}; fill: {color}"
        # Poppler joins the title's two badges, with two spaces between them. The second badge ends where the text ends.
        second = f'<tspan x="{int(left) + int(width)}" text-anchor="end">'
        spans = re.sub("  (.+)", rf"{second}\1</tspan>", text)
        drawn.append(f'<text x="{left}" y="{int(top) + 0.81 * int(height):.0f}" style="{style}">{spans}</text>')
    # The page without its margins, in pixels: a point is 4/3 of a pixel. The texts are in thirds of a point.
    page = '<g transform="scale(1.3333) translate(-36 -50)">'
    parts = [page, *paths, '<g transform="scale(0.3333)">', *drawn, "</g></g>"]
    height = max(int(top) for top, *_ in found) * 4 // 9
    return frame(parts, 720, height, "The page /docs in a browser", unescape("\n".join(shown)), PAGE_STYLE)


def frame(parts: list[str], width: int, height: int, title: str, text: str, style: str) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title>\n<desc>{escape(text, quote=False)}</desc>\n<style>{style}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
        *parts,
        "</svg>\n",
    ]
    return "\n".join(parts)


def read_picture(name: str) -> list[str]:
    """The lines that a picture shows."""
    (text,) = re.findall(r"<desc>(.*)</desc>", (PICTURES / name).read_text(), re.DOTALL)
    return unescape(text).splitlines()


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for name, record in ((API, record_api), (REHEARSAL, record_rehearsal)):
        print(f">> recording {name}", flush=True)
        lines = record(environment)
        if not any(line.text.startswith("✓") for line in lines) or any(line.text.startswith("✗") for line in lines):
            sys.exit("\n".join(line.text for line in lines))
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / name).write_text(draw(lines, f"A terminal with {lines[0].text[2:]}"))
    if missing := [name for name in ("chromium", "pdftocairo", "pdftohtml") if not shutil.which(name)]:
        sys.exit(f"{DOCS} is not drawn. Install {', '.join(missing)} (Debian: chromium, poppler-utils)")
    print(f">> drawing {DOCS}", flush=True)
    (PICTURES / DOCS).write_text(draw_docs(*record_docs(environment)))


if __name__ == "__main__":
    main()
