"""Calls a route of your own, signed:  python examples/call_route.py /items/ --method POST --json '{"name": "x"}'"""

import argparse
import json

import requests
from invoke_secure_routes import auth, endpoint, show
from loguru import logger

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("path", help="the route, for example /items/")
parser.add_argument("--method", default="GET", help="its method (GET)")
parser.add_argument("--json", type=lambda text: json.dumps(json.loads(text)), metavar="BODY", help="a body in JSON")
options = parser.parse_args()

# The stage stands in front of every route. The endpoint ends in the name of the function.
url = f"{endpoint.rsplit('/', 1)[0]}/{options.path.removeprefix('/')}"
headers = {"Content-Type": "application/json"} if options.json else {}
response = requests.request(options.method, url, data=options.json, headers=headers, auth=auth, timeout=35)
logger.info(f"{options.method} {options.path}: {response.status_code} {show(response)}")
