"""Calls a route of your own, signed:  python examples/call_route.py /items/ --method POST --json '{"name": "x"}'"""

import json
import sys
from argparse import SUPPRESS, ArgumentParser

import requests

parser = ArgumentParser(description=__doc__)
parser.add_argument("path")
parser.add_argument("--method", default="GET")
parser.add_argument("--json", type=json.loads, default=SUPPRESS, metavar="BODY")
options = parser.parse_args()
from invoke_secure_routes import auth, endpoint, show  # noqa: E402  It reads .env.

# The endpoint is the address of the stage, and the name of the function.
url = f"{endpoint.rstrip('/').rpartition('/')[0]}/{options.path.removeprefix('/')}"
body = json.dumps(options.json) if "json" in options else None
headers = {"Content-Type": "application/json"} if body else {}
try:
    response = requests.request(options.method, url, data=body, headers=headers, auth=auth, timeout=35)
except requests.RequestException as error:
    sys.exit(f"No answer from {url}: {error}")
print(response.status_code, show(response))
