"""The findings of ECR's scan that `make images` shows.

The emulator scans no image. So a server gives the answers that AWS documents, and the real aws CLI reads them.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT, require

FINDINGS = {
    "imageScanFindings": {
        "findings": [{"name": "CVE-2019-5188", "uri": "https://example.com/CVE-2019-5188", "severity": "MEDIUM"}],
        "imageScanCompletedAt": 1767312000.0,
        "vulnerabilitySourceUpdatedAt": 1767312000.0,
        "findingSeverityCounts": {"HIGH": 2, "MEDIUM": 103},
    },
    "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
    "nextToken": "page 2",
}
CLEAN = {**FINDINGS, "imageScanFindings": {"findings": [], "findingSeverityCounts": {}}, "nextToken": None}
IN_PROGRESS = {"imageScanStatus": {"status": "IN_PROGRESS"}}
NOT_SCANNED = {"__type": "ScanNotFoundException", "message": "Image scan does not exist for the image"}
# The images as describe-images gives them: not in order, without findings, and one without tags.
SCANS: dict[str, dict[str, Any]] = {"b": CLEAN, "d": FINDINGS, "c": IN_PROGRESS, "a": NOT_SCANNED, "e": FINDINGS}
IMAGES = [
    {
        **{"registryId": "123456789012", "repositoryName": "hello-lambda", "imageSizeInBytes": 63000000},
        **{"imageDigest": f"sha256:{name * 64}", "imagePushedAt": 1767225600.0 + ord(name)},
        **({} if name == "e" else {"imageTags": [f"tag-{name}", *(["latest"] if name == "d" else [])]}),
    }
    for name in SCANS
]


class Account(BaseHTTPRequestHandler):
    """Answers to get-function, describe-images and describe-image-scan-findings."""

    def do_GET(self) -> None:
        image = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/hello-lambda@sha256:{'c' * 64}"
        self.answer({"Configuration": {}, "Code": {"RepositoryType": "ECR", "ResolvedImageUri": image}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        if operation == "DescribeImages":
            self.answer({"imageDetails": IMAGES})
        else:
            assert (operation, "nextToken" in request) == ("DescribeImageScanFindings", False)
            self.answer(SCANS[request["imageId"]["imageDigest"][-1]])

    def answer(self, answer: dict[str, Any]) -> None:
        self.send_response(400 if "__type" in answer else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def account() -> Iterator[dict[str, str]]:
    """The environment in which the aws CLI asks this server."""
    require("aws")
    with ThreadingHTTPServer(("127.0.0.1", 0), Account) as server:
        threading.Thread(target=server.serve_forever).start()
        yield {
            "PATH": f"{ROOT}/tests/programs:{CLEAN_ENVIRONMENT['PATH']}",
            "REAL_AWS": str(shutil.which("aws", path=CLEAN_ENVIRONMENT["PATH"])),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            **{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-central-1"},
        }
        server.shutdown()


def test_list_images_shows_the_findings_of_each_pushed_image(account: dict[str, str]) -> None:
    command = ["aws/list_images", "hello-lambda"]
    process = subprocess.run(command, cwd=ROOT, env=account, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    lines = [line.split("\t") for line in process.stdout.splitlines() if "\t" in line]
    assert [(tags, digest[-1], runs, findings) for tags, _, digest, runs, findings in lines] == [
        ("tag-d latest", "d", "", '{"HIGH":2,"MEDIUM":103}'),
        ("tag-c", "c", "runs", "IN_PROGRESS"),
        ("tag-b", "b", "", "{}"),
        ("tag-a", "a", "", "not scanned"),
    ]
    assert "ScanNotFoundException" in process.stderr
    assert process.stdout.endswith("An older image is gone, also for a rollback\n")
