"""Ends and deletes what a rehearsal started, also after the rehearsal was killed.

Reads `watch KIND NAME` and `forget KIND NAME` from standard input, and acts at the end of it. Ended processes must be
forgotten, since others may get their numbers. The guard runs in a session of its own, which a Ctrl-C does not reach.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path


def main() -> None:
    watched: dict[str, list[str]] = defaultdict(list)
    for line in sys.stdin:
        action, kind, name = line.rstrip("\n").split(" ", 2)
        (watched[kind].append if action == "watch" else watched[kind].remove)(name)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in watched["group"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), number)
        time.sleep(1)
    for registry in watched["registry"]:
        label = f"label=ministack.instance={socket.gethostname()}:{registry.split(':')[1]}"
        for container in [*watched["container"], *ask_docker("ps", "-aq", "--filter", label).split()]:
            ask_docker("rm", "--force", "--volumes", container)
        delete_images(registry)
        ask_docker("logout", registry)
    for image in watched["image"]:
        ask_docker("rmi", image)
    for folder in watched["folder"]:
        for log in Path(folder).glob("*.log"):
            delete_build_steps(log.read_text(errors="replace"))
        shutil.rmtree(folder, ignore_errors=True)


def delete_build_steps(output: str) -> None:
    """Deletes the untagged images that a `docker build` with this output made: the legacy builder leaves them."""
    for container in re.findall(r"^ ---> Running in (\w+)$", output, re.MULTILINE)[-1:]:
        # A killed build takes a moment to end its last step, whose container keeps the images.
        while ask_docker("ps", "-aq", "--filter", f"id={container}"):
            ask_docker("rm", "--force", container)
    steps = re.split(r"^Step \d+/\d+ : ", output, flags=re.MULTILINE)[1:]
    made = [step for step in steps if not step.startswith("FROM") and " ---> Using cache" not in step]
    for image in re.findall(r"^ ---> ([0-9a-f]+)$", "".join(reversed(made)), re.MULTILINE):
        if ask_docker("image", "inspect", "--format={{.RepoTags}}", image).strip() == "[]":
            ask_docker("rmi", image)


def delete_images(registry: str) -> None:
    for image in ask_docker("images", "--format={{.Repository}}:{{.Tag}}", f"{registry}/*").split():
        ask_docker("rmi", image)


def ask_docker(*arguments: str) -> str:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    main()
