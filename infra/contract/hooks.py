"""What Schemathesis does not know of this API: real ids, where messages may go, who may do what.

`infra/contract-test` names this file to Schemathesis, and gives it the rest in the environment variable `CONTRACT`.
"""

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
import uuid

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

CONTRACT = json.loads(os.environ["CONTRACT"])

READ_DELIVERIES = {"listDeliveries", "getDelivery"}
PUBLISH = {"beginUpload", "completeUpload"}
TOKENS = {"listTokens", "createToken", "revokeToken"}
DELETE_REPORTS = {"deleteReport"}
READ_CALLS = {"listCalls"}
SOURCES = READ_CALLS | {
    "listSources",
    "createSource",
    "getSource",
    "replaceSource",
    "changeSource",
    "deleteSource",
    "replaceSourceSecret",
    "checkSource",
}
MANAGE = READ_DELIVERIES | {
    "listWebhooks",
    "createWebhook",
    "testNewWebhook",
    "getWebhook",
    "replaceWebhook",
    "changeWebhook",
    "deleteWebhook",
    "testWebhook",
    "replaceSecret",
    "enableWebhook",
    "disableWebhook",
    "redeliver",
    "replay",
    # The same webhooks in the words of other products. `sonarqubeValidate` answers everybody.
    "sonarqubeCreateWebhook",
    "sonarqubeUpdateWebhook",
    "sonarqubeDeleteWebhook",
    "sonarqubeListWebhooks",
    "sonarqubeListDeliveries",
    "sonarqubeGetDelivery",
    "sonarqubeGetSystemInfo",
    "codescoringListWebhooks",
    "codescoringCreateWebhook",
    "codescoringGetWebhook",
    "codescoringReplaceWebhook",
    "codescoringChangeWebhook",
    "codescoringDeleteWebhook",
    "codescoringRefreshAvailability",
    "codescoringTestWebhook",
    "codescoringListTriggers",
}
# The operations that take a login, and who may call them in the demo organization.
MAY = {
    "nobody": set(),
    "administrator": MANAGE | TOKENS | DELETE_REPORTS | SOURCES,
    "manager": MANAGE,
    "publisher": PUBLISH,
    "reader": READ_DELIVERIES | READ_CALLS,
    "viewer": READ_DELIVERIES | READ_CALLS,
    "stranger": set(),
}[CONTRACT["caller"]]

# Rules that JSON Schema cannot say, so that what is generated may break them: the codes with which it is refused then.
BEYOND_SCHEMA = {
    # One of four parameters is required, and two need one of them. A version's numbers fit into 64 bits. A cursor is one that the query gave.
    "listReports": {"missing_parameter", "invalid_version", "invalid_cursor"},
    "listProducts": {"invalid_cursor"},
    # Nobody who generates knows the secret; what is signed is tested elsewhere.
    "receiveEvent": {"invalid_signature"},
    # base64 behind `whsec_`. Either kind has a field that the other has not, and projects that are called otherwise. URLs have a grammar of
    # their own, a server takes its token, and whatever else is said of it takes the server.
    "createSource": {"invalid_secret", "invalid_field", "invalid_url", "missing_field"},
    "replaceSource": {"invalid_secret", "invalid_field", "invalid_url", "missing_field"},
    "changeSource": {"invalid_secret", "invalid_field", "invalid_url", "missing_field"},
    "checkSource": {"invalid_secret", "invalid_field", "invalid_url", "missing_field"},
    "replaceSourceSecret": {"invalid_secret", "unknown_field"},
    "listCalls": {"invalid_cursor"},
    # The calendar. Names of files that differ in letter case only, or have dots alone before their ending.
    "beginUpload": {"invalid_version", "invalid_date", "duplicate_file_name", "invalid_file_name"},
    # URLs have a grammar of their own; base64 behind `whsec_`; names of headers that are taken; events that a format does not
    # tell of; `project` and `projects` that contradict each other; a token that one format needs, and the others have not.
    "createWebhook": {"invalid_url", "invalid_secret", "invalid_header", "invalid_event", "invalid_field", "missing_field"},
    "testNewWebhook": {"invalid_url", "invalid_secret", "invalid_header", "invalid_event", "invalid_field", "missing_field"},
    # Also values of headers that may be absent only if there are some already, and a secret that the format needs.
    "replaceWebhook": {"invalid_url", "invalid_secret", "invalid_header", "invalid_event", "invalid_field", "missing_field"},
    "changeWebhook": {"invalid_url", "invalid_secret", "invalid_header", "invalid_event", "invalid_field", "missing_field"},
    "testWebhook": {"invalid_url", "invalid_secret", "invalid_header", "invalid_event", "invalid_field", "missing_field"},
    "replaceSecret": {"invalid_secret"},
    "listDeliveries": {"invalid_date", "invalid_cursor"},
    "replay": {"invalid_date"},
    "listTokens": {"invalid_cursor"},
    # The calendar, and a date in the future.
    "createToken": {"invalid_date"},
}

# The same, where an error has no code: what it says, behind its field where it has one.
BEYOND_SCHEMA_IN_WORDS = {
    # Lengths in UTF-16.
    "sonarqubeListWebhooks": r"^'project' length",
    "sonarqubeDeleteWebhook": r"^'webhook' length",
    # URLs have a grammar of their own; base64 behind `whsec_`. There may be ten webhooks for all projects.
    "sonarqubeCreateWebhook": r"is not a valid url|^'name' length|^secret: begins with 'whsec_'|^Maximum number of",
    # Also a secret may be absent or has 16 characters, and one format needs it.
    "sonarqubeUpdateWebhook": r"is not a valid url|^'(webhook|name)' length|^secret: begins with 'whsec_'"
    r"|^Secret length must|must have a secret$",
    "sonarqubeListDeliveries": r"^'webhook' length|^Can return only the first 1000 results",
    "codescoringCreateWebhook": r"^url:|^projects: there may be at most|^non_field_errors:",
    "codescoringTestWebhook": r"^url:|^projects: there may be at most",
    # Another host takes the token once more.
    "codescoringReplaceWebhook": r"^url:|^projects: there may be at most|^token:|^non_field_errors:",
    "codescoringChangeWebhook": r"^url:|^projects: there may be at most|^token:|^non_field_errors:",
}

# The answers of these have no body that says the code. GET of the same has.
HEAD_OF = {"describeList": "listReports", "describeProducts": "listProducts", "describeFiles": "downloadFiles", "describeReportFile": "readReportFile"}

# Ids that answers gave. What is asked for by one of them is meant.
given = set()


@schemathesis.deserializer("application/zip", "application/pdf", "text/html")
def bytes_of(context, response):
    """To a schema an archive or a file is a text of bytes. What is in it is tested elsewhere."""
    return response.content.decode("latin-1")


@schemathesis.hook
def before_call(context, case, kwargs):
    put_real_ids(case)
    for name in ("url", "baseUrl"):
        if isinstance(case.body, dict) and isinstance(case.body.get(name), str):
            case.body[name] = to_our_receiver(case.body[name])
    if is_stateful(case):
        make_anew(case)
    if operation_of(case) == "beginUpload" and is_stateful(case):
        declare_empty_files(case.body)


@schemathesis.hook
def after_call(context, case, response):
    body = json_of(response)
    given.update(ids_in(body))
    if operation_of(case) == "beginUpload" and response.status_code == 201 and is_stateful(case):
        put_empty_files(body)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it is a failure indeed."""
    if isinstance(failure, RejectedPositiveData):
        return not is_beyond_schema(case, response)
    if isinstance(failure, AcceptedNegativeData):
        # These answer everybody alike, whatever stands in place of an organization.
        is_for_everybody = operation_of(case) in ("sonarqubeGetSystemStatus", "sonarqubeGetVersion", "sonarqubeValidate")
        return not names_reports(case) and not is_for_everybody
    if isinstance(failure, EnsureResourceAvailability):
        # It is about ids that Schemathesis meant, and not about ours.
        return not any(is_prepared(name, value) for name, value in case.path_parameters.items())
    return True


@schemathesis.check
def rights(ctx, response, case):
    """Who may do something is let in, and nobody else is."""
    operation = operation_of(case)
    if operation not in MANAGE | TOKENS | PUBLISH | DELETE_REPORTS | SOURCES or case.method != case.operation.method.upper():
        return
    # Some requests are made without a login on purpose.
    may = operation in MAY and "Authorization" in response.request.headers
    refused = response.status_code in (401, 403)
    if operation.startswith(("sonarqube", "codescoring")):
        # To clients of other products, another organization is another server, which knows no login of ours.
        may = may and case.path_parameters.get("organizationId") == CONTRACT["ids"]["organizationId"]
    if not may and response.status_code < 400:
        raise Failure(
            operation=case.operation.label,
            title="Done for somebody without the right",
            message=f"{CONTRACT['caller']} may not do this, and got {response.status_code}",
        )
    # A publisher that names another organization than its own is told so.
    if may and refused and json_of(response).get("code") != "wrong_organization":
        raise Failure(
            operation=case.operation.label,
            title="Refused to somebody with the right",
            message=f"{CONTRACT['caller']} may do this, and got {response.status_code}",
        )


def is_beyond_schema(case, response):
    operation = operation_of(case)
    body = refusal_of_get(response.request.url) if operation in HEAD_OF else json_of(response)
    if operation in BEYOND_SCHEMA_IN_WORDS and isinstance(body, dict):
        words = [error["msg"] for error in body["errors"]] if "errors" in body else words_of_fields(body)
        return all(re.search(BEYOND_SCHEMA_IN_WORDS[operation], word) for word in words)
    operation = HEAD_OF.get(operation, operation)
    return isinstance(body, dict) and body.get("code") in BEYOND_SCHEMA.get(operation, ())


def words_of_fields(errors):
    """What `{field: [words]}` says, a text for each."""
    return [f"{field}: {said}" for field, words in errors.items() for said in ([words] if isinstance(words, str) else words)]


def refusal_of_get(url):
    try:
        send(urllib.request.Request(url))
    except urllib.error.HTTPError as error:
        return json.loads(error.read())
    return None


def names_reports(case):
    """Whether a query is in order for a download by what the contract says in words, which is more than its schema can:
    values may hold several ids or none, and only different ids count."""
    query = case.query or {}
    if operation_of(case) not in ("downloadFiles", "describeFiles") or not is_uuid(str(query.get("org"))):
        return False
    # A link gives one id, not a list of them.
    values = query.get("reports") or []
    values = values if isinstance(values, list) else [values]
    ids = {part.strip().lower() for value in values for part in str(value).split(",")} - {""}
    return query.keys() <= {"org", "reports"} and 1 <= len(ids) <= 100 and all(map(is_uuid, ids))


def operation_of(case):
    return case.operation.definition.raw.get("operationId")


def is_stateful(case):
    return case.meta is not None and case.meta.phase.name.value == "stateful"


def json_of(response):
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def ids_in(value):
    """Every UUID that is the value of a field."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return {value} if isinstance(value, str) and is_uuid(value) else set()
    return set().union(*map(ids_in, value))


def is_uuid(text):
    return re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text) is not None


def put_real_ids(case):
    """Of ids that were made up nearly all become ids of what exists: otherwise every answer would be 404."""
    for name, value in (case.path_parameters or {}).items():
        if name in CONTRACT["ids"] and (stands_for_any(value) or is_prepared(name, value)):
            case.path_parameters[name] = real_id(case, name)
    for name, value in (case.headers or {}).items():
        # The tag of the contract's example stands for the one that the webhook has.
        if name == "If-Match" and value == '"3"':
            case.headers[name] = "*"
    for name, value in (case.query or {}).items():
        if name == "org" and stands_for_any(value):
            case.query[name] = CONTRACT["ids"]["organizationId"]
        if name == "reports" and isinstance(value, list):
            case.query[name] = [
                CONTRACT["reports"][at] if at < len(CONTRACT["reports"]) and stands_for_any(one) else one
                for at, one in enumerate(value)
            ]


def stands_for_any(value):
    """By its last digit, so that the same id is always treated alike."""
    return isinstance(value, str) and is_uuid(value) and value not in given and value[-1] not in "fF"


def is_prepared(name, value):
    if name == "tokenId" and value in CONTRACT["tokens"]:
        return True
    return name != "organizationId" and value == CONTRACT["ids"].get(name)


def real_id(case, name):
    operation = operation_of(case)
    if operation not in MAY:
        return CONTRACT["ids"][name]
    # What is deleted is made for it: other calls need what is there.
    if operation == "deleteWebhook" and name == "webhookId":
        project = f"deleted:{uuid.uuid4()}"
        return call("webhooks", {"name": "To be deleted", "url": CONTRACT["receiver"], "project": project})["id"]
    if operation == "deleteSource" and name == "sourceId":
        return call("sources", {"name": "To be deleted", "kind": "sonarqube"})["id"]
    if operation == "revokeToken" and name == "tokenId":
        return call("tokens", {"name": "To be revoked", "rights": ["publish"]})["id"]
    return CONTRACT["ids"][name]


def call(path, body):
    """A call as administrator, which is not under test."""
    request = urllib.request.Request(
        f"{CONTRACT['api']}/organizations/{CONTRACT['ids']['organizationId']}/{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {CONTRACT['administrator']}"},
    )
    return json.loads(send(request))


def send(request):
    # Everything is on loopback, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return response.read()


URL = re.compile(r"(?P<scheme>https?)://(?P<userinfo>[^/?#\\\s]*@)?[^/?#\\\s@]*(?P<rest>[/?#]\S*)?", re.IGNORECASE)


def to_our_receiver(url):
    """The same URL on our receiver. `local` would call any other address too.

    Whatever does not look exactly like a URL loses what a lenient parser might take for the scheme of one.
    """
    match = URL.fullmatch(url)
    if not match:
        return re.sub("[Hh]", "x", url)
    host = CONTRACT["receiver"].removeprefix("http://").rstrip("/")
    return f"{match['scheme']}://{match['userinfo'] or ''}{host}{match['rest'] or ''}"


def make_anew(case):
    """A repeat with the same key is answered by what was made first, also when that is gone; what follows is about a new one."""
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def declare_empty_files(body):
    """So that the files of a declaration are known, and it can be completed."""
    for file in body.get("files", []) if isinstance(body, dict) else []:
        if isinstance(file, dict) and file.get("size") is not None and file.get("sha256") is not None:
            file |= {"size": 0, "sha256": hashlib.sha256().hexdigest()}


def put_empty_files(upload):
    for file in upload["files"]:
        send(urllib.request.Request(file["url"], data=b"", headers=file["headers"], method="PUT"))
