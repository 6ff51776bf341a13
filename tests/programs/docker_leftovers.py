"""Deletes what a build or a push leaves in the Docker engine, and nothing where there is no engine."""

import re
import subprocess


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
