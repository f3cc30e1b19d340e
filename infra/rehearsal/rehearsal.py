"""Deploys the built stack to the emulator, runs the end-to-end tests against it, and deletes it.

    python rehearsal.py FOLDER BUILD SAM TESTS [ARGUMENTS OF TESTS]

FOLDER is for what it writes, BUILD what `sam build` made, SAM that program, and TESTS the compiled end-to-end tests.

`rehearse` runs this in namespaces of its own. The machine has no network here but itself, so the names of AWS, a public
address and any port can be ours, and nothing can leave. So what is deployed needs no switch that makes it different: the
functions find AWS by its own names, believe an identity provider and call receivers over TLS, and the guard that lets
them call none but public addresses is in force. All processes that are started end with this one.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import boto3
from samtranslator.yaml_helper import yaml_parse

REGION = "eu-central-1"
STACK = "rehearsal"
# The emulator answers by the names of AWS, so neither sam nor a function is told of it.
SERVICES = [
    "apigateway",
    "cloudformation",
    "cognito-idp",
    "dynamodb",
    "events",
    "lambda",
    "logs",
    "monitoring",
    "s3",
    "sqs",
]
AWS_NAMES = [f"{service}.{REGION}.amazonaws.com" for service in SERVICES] + ["iam.amazonaws.com"]
EMULATOR_ADDRESS = "127.0.0.1"
# Where receivers and the identity provider are. It has to be a public address, since the functions call no other; which
# one makes no difference, since nothing leaves this network.
PUBLIC_ADDRESS = "93.184.215.14"
RECEIVER_NAME = "receiver.example.com"
ISSUER_NAME = "issuer.example.com"
# What the development issuer of `local` adds to the URL of its listener, and whom its tokens are for.
ISSUER = f"https://{ISSUER_NAME}/development-issuer"
AUDIENCE = "sonarqube-reports"
OWN_ISSUER = [f"OidcIssuer={ISSUER}", f"OidcAudience={AUDIENCE}", "PanelClientId=sonarqube-reports-panel"]
ADMINISTRATOR = "administrator@example.com"
PASSWORD = "correct horse battery staple"
# The tests wait for rounds, and EventBridge knows no shorter time.
ROUNDS = "rate(1 minute)"
# Nearly all that the tests do is to wait, so all of them at once.
TEST_THREADS = 32

PATIENCE = {
    "emulator": timedelta(minutes=1),
    "deployment": timedelta(minutes=5),
    "tests": timedelta(minutes=10),
}
LOG_LINES = 100

# How to list what a stack may leave behind, by type.
LISTS = {
    "AWS::ApiGateway::RestApi": ("apigateway", "get_rest_apis", "items", "id"),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "AWS::DynamoDB::Table": ("dynamodb", "list_tables", "TableNames", None),
    "AWS::Events::Rule": ("events", "list_rules", "Rules", "Name"),
    "AWS::IAM::Role": ("iam", "list_roles", "Roles", "RoleName"),
    "AWS::Lambda::EventSourceMapping": ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    "AWS::Lambda::Function": ("lambda", "list_functions", "Functions", "FunctionName"),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "AWS::S3::Bucket": ("s3", "list_buckets", "Buckets", "Name"),
    "AWS::SQS::Queue": ("sqs", "list_queues", "QueueUrls", None),
}


def main():
    folder, build, sam = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    tests = sys.argv[4:]
    step("A network of its own")
    own_network(folder)
    certificates(folder)
    environment(folder)
    step("The emulator")
    start_emulator(folder)
    try:
        rehearse(folder, build, sam, tests)
    except (Exception, SystemExit):
        try:
            show_logs()
        except Exception as error:
            # What went wrong first is what counts.
            print(f"rehearse: the logs cannot be shown: {error}", flush=True)
        raise
    step("Everything holds")


def rehearse(folder, build, sam, tests):
    step("sam deploy, with a user pool")
    deploy(folder, build, sam, [])
    outputs = outputs_of_stack()
    name_addresses(folder, outputs)

    step("The first administrator")
    first_administrator(sam, outputs)

    step("sam deploy, with an identity provider of our own")
    deploy(folder, build, sam, OWN_ISSUER)
    outputs, resources = outputs_of_stack(), resources_of(STACK)

    step("sam deploy once more")
    if "No changes to deploy" not in deploy(folder, build, sam, OWN_ISSUER):
        sys.exit("rehearse: the same stack again was a change")

    step("The end-to-end tests")
    target = folder / "target.json"
    target.write_text(json.dumps(target_of(folder, outputs), indent=2))
    usual = hourly_rule(resources)
    schedule(usual, ROUNDS)
    run([*tests, f"--test-threads={TEST_THREADS}"], "tests", {"END_TO_END_TARGET": str(target)})
    schedule(usual, usual["ScheduleExpression"])

    step("sam delete")
    run([sam, "delete", "--stack-name", STACK, "--no-prompts"], "deployment", sam_environment(folder))
    only_data_is_left(resources)


def step(title):
    print(f"\n-- {title}", flush=True)


def own_network(folder):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{PUBLIC_ADDRESS}/32", "dev", "lo"], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    add_names(folder, EMULATOR_ADDRESS, AWS_NAMES)
    add_names(folder, PUBLIC_ADDRESS, [RECEIVER_NAME, ISSUER_NAME])
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


def add_names(folder, address, names):
    with (folder / "hosts").open("a") as hosts:
        for name in names:
            print(address, name, file=hosts)


def certificates(folder):
    """An authority for this run, and one certificate of it for everybody who listens here."""
    names = [f"{wildcard}{REGION}.amazonaws.com" for wildcard in ("*.", "*.s3.", "*.execute-api.")]
    names += ["iam.amazonaws.com", RECEIVER_NAME, ISSUER_NAME]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    authority = ["-x509", *key, "-subj", "/CN=rehearsal", "-keyout", "ca.key", "-out", "ca.crt"]
    authority += ["-addext", "keyUsage=critical,keyCertSign"]
    server = ["-x509", *key, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.crt"]
    server += ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    server += ["-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
    for arguments in (authority, server):
        subprocess.run(["openssl", "req", *arguments], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def environment(folder):
    """What the tests and, through the emulator, the functions find in their environment, and nothing of who runs this."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    authority = str(folder / "ca.crt")
    os.environ.update(
        AWS_ACCESS_KEY_ID="rehearsal",
        AWS_SECRET_ACCESS_KEY="rehearsal",
        AWS_DEFAULT_REGION=REGION,
        AWS_REGION=REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        SAM_CLI_TELEMETRY="0",
        # Whom botocore believes, and whom everything else does. There is nobody else here.
        AWS_CA_BUNDLE=authority,
        SSL_CERT_FILE=authority,
        # What fails is a test's assertion, and where that is, it says itself.
        RUST_BACKTRACE="0",
    )


def sam_environment(folder):
    """sam makes a bucket of its own. We do not know its name, so that has to be in paths and not be a host."""
    config = folder / "aws-config"
    config.write_text("[default]\ns3 =\n  addressing_style = path\n")
    return {"AWS_CONFIG_FILE": str(config)}


def start_emulator(folder):
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    settings = {
        "MINISTACK_HOST": f"{REGION}.amazonaws.com",
        "MINISTACK_REGION": REGION,
        "BIND_HOST": EMULATOR_ADDRESS,
        # It then listens on 443 too, where everybody looks for AWS.
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(folder / "server.crt"),
        "MINISTACK_SSL_KEY": str(folder / "server.key"),
        "TMPDIR": str(temporary),
    }
    log = (folder / "emulator.log").open("w")
    program = [sys.executable, Path(__file__).with_name("emulator.py")]
    emulator = subprocess.Popen(program, env={**os.environ, **settings}, stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE["emulator"].total_seconds()
    while True:
        try:
            urllib.request.urlopen(f"https://s3.{REGION}.amazonaws.com/_ministack/ready", timeout=5)
            return
        except OSError as error:
            if emulator.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"rehearse: the emulator does not answer ({error}):\n{(folder / 'emulator.log').read_text()}")
            time.sleep(0.2)


def deploy(folder, build, sam, parameters):
    """Deploys with the settings of samconfig.toml, but for its questions."""
    parameters = [*parameters, f"Architecture={os.environ['ARCHITECTURE']}"]
    settings = ["--config-file", Path("samconfig.toml").resolve(), "--stack-name", STACK]
    command = [sam, "deploy", "--template-file", build / "template.yaml", *settings]
    command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--parameter-overrides", *parameters]
    return run(command, "deployment", sam_environment(folder))


def run(command, what, variables=None):
    """Runs a program, shows what it prints, and gives it back."""
    seconds = PATIENCE[what].total_seconds()
    printed = []
    process = subprocess.Popen(
        ["timeout", str(seconds), *map(str, command)],
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        print(line, end="", flush=True)
        printed.append(line)
    if process.wait() != 0:
        sys.exit(f"rehearse: failed ({process.returncode}): {' '.join(map(str, command))}")
    return "".join(printed)


def first_administrator(sam, outputs):
    """Makes one by the scripts that people use, and a token with what one logs in with."""
    python, who = Path(sam).with_name("python"), ["--stack", STACK, "--email", ADMINISTRATOR]
    # Twice: what is there already stays.
    printed = [run([python, "infra/create-administrator", *who], "deployment") for _ in range(2)]
    said = [re.search(r"administrator of the organization (\S+)\.$", one, re.MULTILINE) for one in printed]
    [organization] = {one.group(1) for one in said}
    # The e-mail with the first password goes nowhere here.
    boto3.client("cognito-idp").admin_set_user_password(
        UserPoolId=outputs["UserPoolId"], Username=ADMINISTRATOR, Password=PASSWORD, Permanent=True
    )
    # Without a terminal it reads the password from where we write it.
    logged_in = subprocess.run(
        [python, "infra/log-in", *who], input=PASSWORD, stdout=subprocess.PIPE, text=True, start_new_session=True, check=True
    )
    request = urllib.request.Request(
        f"{outputs['ApiUrl']}/organizations/{organization}/tokens",
        data=json.dumps({"name": "CI", "rights": ["publish"]}).encode(),
        headers={"Authorization": f"Bearer {logged_in.stdout.strip()}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(f"A token was made for {organization}: {answer.status}")
    except urllib.error.HTTPError as error:
        sys.exit(f"rehearse: the first administrator can make no token: {error} {error.read().decode()}")


def outputs_of_stack():
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def resources_of(stack):
    """What belongs to the stack and those nested in it, with whether it is to be retained."""
    cloudformation = boto3.client("cloudformation")
    body = cloudformation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    template = (yaml_parse(body) if isinstance(body, str) else body)["Resources"]
    resources = []
    for one in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]:
        is_retained = template.get(one["LogicalResourceId"], {}).get("DeletionPolicy") == "Retain"
        resources.append({"type": one["ResourceType"], "id": one["PhysicalResourceId"], "is_retained": is_retained})
        if one["ResourceType"] == "AWS::CloudFormation::Stack":
            resources += resources_of(one["PhysicalResourceId"])
    return resources


def name_addresses(folder, outputs):
    """The API and the bucket have names of their own."""
    bucket = f"{outputs['ReportsBucketName']}.s3.{REGION}.amazonaws.com"
    add_names(folder, EMULATOR_ADDRESS, [outputs["ApiUrl"].split("/")[2], bucket])


def target_of(folder, outputs):
    """What the tests need of the stack, and of this machine."""
    return {
        "apiUrl": outputs["ApiUrl"],
        "region": REGION,
        "webhooksTable": outputs["WebhooksTableName"],
        "deliveriesTable": outputs["DeliveriesTableName"],
        "issuerUrl": f"https://{ISSUER_NAME}",
        "publicAddress": PUBLIC_ADDRESS,
        "receiverName": RECEIVER_NAME,
        "certificate": str(folder / "server.crt"),
        "privateKey": str(folder / "server.key"),
    }


def hourly_rule(resources):
    [name] = [one["id"] for one in resources if one["type"] == "AWS::Events::Rule"]
    return boto3.client("events").describe_rule(Name=name)


def schedule(rule, expression):
    """Lets the stack's own rule, with its target, run at other times."""
    boto3.client("events").put_rule(Name=rule["Name"], ScheduleExpression=expression, State="ENABLED")


def only_data_is_left(resources):
    for kind, (service, operation, list_name, id_name) in LISTS.items():
        pages = boto3.client(service).get_paginator(operation).paginate()
        there = [one[id_name] if id_name else one for page in pages for one in page.get(list_name, [])]
        of_stack = [one for one in resources if one["type"] == kind]
        left = {one["id"] for one in of_stack if one["id"] in there}
        retained = {one["id"] for one in of_stack if one["is_retained"]}
        print(f"{kind}: {len(of_stack)} deployed, {len(left)} left")
        if left != retained:
            sys.exit(f"rehearse: left are {sorted(left)}, and retained should be {sorted(retained)}")


def show_logs():
    step("What the functions wrote")
    logs = boto3.client("logs")
    for groups in logs.get_paginator("describe_log_groups").paginate():
        for group in groups["logGroups"]:
            show_log(logs, group["logGroupName"])


def show_log(logs, name):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
    events = [event for page in pages for event in page["events"]]
    print(f"{name}:")
    for event in events[-LOG_LINES:]:
        print(f"  {event['message'].rstrip()}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("rehearse: stopped")
