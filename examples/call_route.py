"""Calls a route of your own, signed:  python examples/call_route.py /items/ --method POST --json '{"name": "x"}'"""

import json
from argparse import ArgumentParser

import requests
from loguru import logger


def check_json(text: str) -> str:
    return json.dumps(json.loads(text))


parser = ArgumentParser(description=__doc__)
parser.add_argument("path")
parser.add_argument("--method", default="GET")
parser.add_argument("--json", type=check_json, metavar="BODY")
options = parser.parse_args()
from invoke_secure_routes import auth, endpoint, show  # noqa: E402  It reads .env.

# The endpoint is the address of the stage, and the name of the function.
url = f"{endpoint.rstrip('/').rpartition('/')[0]}/{options.path.removeprefix('/')}"
headers = {"Content-Type": "application/json"} if options.json else {}
response = requests.request(options.method, url, data=options.json, headers=headers, auth=auth, timeout=35)
logger.info(f"{options.method} {options.path}: {response.status_code} {show(response)}")
