"""Ends and deletes what a rehearsal started, also after the rehearsal was killed.

The guard is a process in a session of its own. It reads `watch KIND NAME` and `forget KIND NAME` from standard input,
and acts at the end of the input, which comes when the rehearsal ends. `forget` matters for processes: their number may
soon belong to another one.
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
from pathlib import Path

KINDS = ("group", "registry", "container", "image", "folder")


def main() -> None:
    watched: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for line in sys.stdin:
        action, kind, name = line.rstrip("\n").split(" ", 2)
        if action == "watch":
            watched[kind].append(name)
        else:
            watched[kind].remove(name)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in watched["group"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), number)
        time.sleep(1)
    for registry in watched["registry"]:
        emulator = f"{socket.gethostname()}:{registry.split(':')[1]}"
        watched["container"] += ask_docker("ps", "-aq", "--filter", f"label=ministack.instance={emulator}").split()
        watched["image"] += ask_docker("images", "--format={{.Repository}}:{{.Tag}}", f"{registry}/*").split()
        ask_docker("logout", registry)
    for container in watched["container"]:
        ask_docker("rm", "--force", "--volumes", container)
    for image in watched["image"]:
        ask_docker("rmi", image)
    for folder in map(Path, watched["folder"]):
        for log in folder.glob("*.log"):
            delete_build_steps(log.read_text(errors="replace"))
        shutil.rmtree(folder, ignore_errors=True)


def delete_build_steps(output: str) -> None:
    """Deletes the untagged images that a `docker build` with this output made: the legacy builder leaves them."""
    steps = re.split(r"^Step \d+/\d+ : ", output, flags=re.MULTILINE)[1:]
    made = [step for step in steps if not step.startswith("FROM") and " ---> Using cache" not in step]
    for image in re.findall(r"^ ---> ([0-9a-f]+)$", "".join(reversed(made)), re.MULTILINE):
        if ask_docker("image", "inspect", "--format={{.RepoTags}}", image).strip() == "[]":
            ask_docker("rmi", image)


def ask_docker(*arguments: str) -> str:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    main()
