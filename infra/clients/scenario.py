"""What people do with a client: every operation once, each with what another one gave."""

import hashlib
import io
import json
import time
import urllib.request
import uuid
import zipfile

DELIVERY_DEADLINE = 60  # seconds; two are usual


def play(client, environment, receiver_url):
    """Has a client call every operation, as an organization's administrator, a publisher and nobody in particular."""
    organization = {"organization_id": uuid.UUID(environment["ORG_ID"])}
    administrator, publisher = environment["ADMIN_TOKEN"], environment["PUBLISH_TOKEN"]
    webhook = make_webhook(client, administrator, organization, receiver_url)
    report = publish(client, publisher)
    read(client, organization["organization_id"], report)
    change_webhook(client, administrator, organization | webhook)
    see_deliveries(client, administrator, organization | webhook)
    make_source(client, administrator, organization)
    make_token(client, administrator, organization)
    manage_as_sonarqube(client, administrator, organization, receiver_url)
    manage_as_codescoring(client, administrator, organization, receiver_url)
    client.call(administrator, "deleteReport", **organization, report_id=report)
    client.call(administrator, "deleteWebhook", **organization, **webhook)
    left = client.call(administrator, "listWebhooks", **organization).webhooks
    holds(webhook["webhook_id"] not in [one.id for one in left], "a deleted webhook is there no more")


def make_webhook(client, login, organization, url):
    events = client.call(None, "listWebhookEvents").events
    holds("report.published" in [event.name for event in events], "there are events")
    draft = client.schema("WebhookDraft", {"url": url})
    holds(client.call(login, "testNewWebhook", **organization, body=draft).delivered, "a draft can be tried")
    settings = {
        "name": client.PACKAGE,
        "url": url,
        "secret": "correct horse battery staple",
        "project": client.PACKAGE,
        "events": ["report.published", "report.deleted"],
        "headers": [{"name": "x-tenant", "value": "acme"}],
    }
    created = client.call(login, "createWebhook", **organization, body=client.schema("NewWebhook", settings))
    holds(created.name == client.PACKAGE and created.headers[0].name == "x-tenant", "a webhook is as it was asked for")
    webhook = {"webhook_id": created.id}
    tested = client.call(login, "testWebhook", **organization, **webhook)
    holds(tested.delivered and tested.attempt.status == 200, "a webhook can be tried")
    return webhook


def publish(client, login):
    """Gives the id of a report of one file."""
    content = client.PACKAGE.encode()
    declaration = {
        "projectKey": client.PACKAGE,
        "projectName": client.PACKAGE,
        "projectVersion": "1.0",
        "reportType": "CWE Top 25",
        "reportVersion": 2024,
        "date": "2025-12-17T09:05:48.5946432+00:00",
        "vulnerabilitiesCount": 0,
        "securityRating": "A",
        "properties": {"sonar.analysis.buildNumber": "7"},
        "files": [{"name": "report.html", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}],
    }
    upload = client.call(login, "beginUpload", body=client.schema("ReportDeclaration", declaration))
    file = upload.files[0].to_dict()
    # This request goes to Amazon S3, and is no operation of the contract.
    put = urllib.request.Request(file["url"], data=content, headers=file["headers"], method="PUT")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(put, timeout=30).close()
    published = client.call(login, "completeUpload", upload_id=upload.upload_id)
    holds(published.id == upload.report_id and published.revision == 1, "an upload becomes a report")
    return published.id


def read(client, organization, report):
    for preflight in ("preflightList", "preflightProducts", "preflightFiles", "preflightFile"):
        client.call(None, preflight)
    query = {"org": organization, "minver": "0-0", "limit": 1000}
    client.call(None, "describeList", **query)
    listed = client.call(None, "listReports", **query).reports
    holds(report in [one.id for one in listed], "what was published is listed")
    client.call(None, "describeProducts", org=organization)
    products = client.call(None, "listProducts", org=organization, limit=100).products
    holds(client.PACKAGE in [one.key for one in products], "its product is listed")
    of_product = client.call(None, "listReports", org=organization, project=client.PACKAGE).reports
    holds([one.id for one in of_product] == [report], "its product has it, and no other")
    holds(of_product[0].files[0].name == "report.html", "the list of a product names files")
    # Two of them, since a repeated parameter is where clients differ.
    other = next(one.id for one in listed if one.id != report)
    files = {"org": organization, "reports": [report, other]}
    client.call(None, "describeFiles", **files)
    with zipfile.ZipFile(io.BytesIO(client.content(client.call(None, "downloadFiles", **files)))) as archive:
        manifest = client.schema("ArchiveManifest", json.loads(archive.read("reports.json")))
        holds([one.id for one in manifest.reports] == [report, other], "both reports are downloaded")
        file = f"{manifest.reports[0].folder}/{manifest.reports[0].files[0].name}"
        holds(archive.read(file) == client.PACKAGE.encode(), "a file is downloaded as it was uploaded")
    file = {"org": organization, "report": report, "name": "report.html"}
    client.call(None, "describeReportFile", **file)
    page = client.content(client.call(None, "readReportFile", **file))
    holds(page == client.PACKAGE.encode(), "a file is read as it was uploaded")


def change_webhook(client, login, webhook):
    got = client.call(login, "getWebhook", **webhook)
    # What was read may be sent back.
    settings = client.schema("WebhookSettings", got.to_dict() | {"name": "Replaced"})
    holds(client.call(login, "replaceWebhook", **webhook, body=settings).name == "Replaced", "settings are replaced")
    disabled = client.call(login, "disableWebhook", **webhook)
    holds(disabled.disabled_reason.value == "administrator", "a webhook is disabled")
    patch = client.schema("WebhookPatch", {"name": "Changed"})
    changed = client.call(login, "changeWebhook", **webhook, body=patch)
    holds(changed.name == "Changed" and changed.project == got.project, "one setting is changed")
    holds(not changed.enabled, "a webhook stays disabled when another setting is changed")
    replaced = client.call(login, "replaceSecret", **webhook, body=client.schema("NewSecret", {}))
    holds(replaced.secret.startswith("whsec_"), "a secret is generated")
    holds(client.call(login, "enableWebhook", **webhook).enabled, "a webhook is enabled")


def see_deliveries(client, login, webhook):
    deadline = time.monotonic() + DELIVERY_DEADLINE
    while not (delivered := [one for one in deliveries(client, login, webhook) if one.state.value == "delivered"]):
        holds(time.monotonic() < deadline, "the report is delivered")
        time.sleep(0.1)
    delivery = {"delivery_id": delivered[0].id}
    seen = client.call(login, "getDelivery", **webhook, **delivery)
    holds(seen.attempts[-1].request_headers is not None, "a delivery has its attempts")
    client.call(login, "redeliver", **webhook, **delivery)
    dry_run = client.schema("ReplayRequest", {"dryRun": True, "states": ["delivered", "pending", "failed", "held"]})
    holds(client.call(login, "replay", **webhook, body=dry_run).count == 1, "a replay can be counted")


def make_source(client, login, organization):
    """What calls a source signs the bytes that it sends, so that is no client's to do."""
    settings = {"name": client.PACKAGE, "kind": "sonarqube", "projects": ["acme:*"]}
    created = client.call(login, "createSource", **organization, body=client.schema("SourceSettings", settings))
    holds(created.url.endswith(f"/events/{created.id}"), "a source has an address")
    source = organization | {"source_id": created.id}
    holds(created.id in [one.id for one in client.call(login, "listSources", **organization).sources], "it is listed")
    got = client.call(login, "getSource", **source)
    replaced = client.schema("SourceSettings", got.to_dict() | {"name": "Replaced"})
    holds(client.call(login, "replaceSource", **source, body=replaced).name == "Replaced", "settings are replaced")
    changed = client.call(login, "changeSource", **source, body=client.schema("SourcePatch", {"enabled": False}))
    holds(not changed.enabled and changed.projects == ["acme:*"], "one setting is changed")
    secret = client.call(login, "replaceSourceSecret", **source, body=client.schema("NewSourceSecret", {})).secret
    holds(secret.startswith("whsec_"), "a secret is generated")
    holds(client.call(login, "listCalls", **source, limit=10).calls == [], "nobody has called it")
    # The API is no SonarQube, which is an answer too.
    server = client.schema("SourcePatch", {"baseUrl": client.url, "token": "squ_1"})
    checked = client.call(login, "checkSource", **source, body=server)
    holds(not checked.ok and not checked.reachable, "a server is checked")
    client.call(login, "deleteSource", **source)
    settings = {"name": client.PACKAGE, "kind": "codescoring", "projects": ["A shop", "7"]}
    created = client.call(login, "createSource", **organization, body=client.schema("SourceSettings", settings))
    holds(len(created.token) == 64, "a token is generated")
    client.call(login, "deleteSource", **organization, source_id=created.id)


def manage_as_sonarqube(client, login, organization, url):
    """The same webhooks in SonarQube's words. Clients that were made for it are tried elsewhere."""
    system = client.call(login, "sonarqubeGetSystemInfo", **organization).system
    holds(client.call(None, "sonarqubeGetSystemStatus", **organization).version == system.version, "it is up")
    client.call(None, "sonarqubeGetVersion", **organization)
    holds(client.call(login, "sonarqubeValidate", **organization).valid, "a login is good")
    settings = {"name": client.PACKAGE, "url": url, "project": "acme:sonarqube"}
    created = client.form(login, "sonarqubeCreateWebhook", "SonarqubeNewWebhook", settings, **organization).webhook
    holds(not created.has_secret, "a webhook without a secret is made")
    settings = {"webhook": str(created.key), "name": "Replaced", "url": url}
    client.form(login, "sonarqubeUpdateWebhook", "SonarqubeWebhookUpdate", settings, **organization)
    listed = client.call(login, "sonarqubeListWebhooks", **organization, project="acme:sonarqube").webhooks
    holds([one.name for one in listed] == ["Replaced"], "a project's webhooks are listed")
    page = client.call(login, "sonarqubeListDeliveries", **organization, webhook=str(created.key), p=1, ps=10)
    holds(page.paging.total == 0, "it was told nothing")
    # That was made in our own words, and was told of a report.
    [told] = client.call(login, "sonarqubeListWebhooks", **organization, project=client.PACKAGE).webhooks
    delivery = told.latest_delivery.id
    seen = client.call(login, "sonarqubeGetDelivery", **organization, delivery_id=delivery).delivery
    holds(seen.id == delivery and client.PACKAGE in seen.payload, "a delivery has what was sent")
    client.form(login, "sonarqubeDeleteWebhook", "SonarqubeWebhookKey", {"webhook": str(created.key)}, **organization)


def manage_as_codescoring(client, login, organization, url):
    """The same webhooks in CodeScoring's words."""
    triggers = [one.value for one in client.call(login, "codescoringListTriggers", **organization)]
    holds("project_sca_analysis_finished" in triggers, "there are triggers")
    settings = {"name": client.PACKAGE, "url": url, "token": "t0ken", "events": triggers[:2]}
    draft = client.schema("CodescoringWebhookDraft", settings)
    holds(client.call(login, "codescoringTestWebhook", **organization, body=draft).status_code == 200, "a draft can be tried")
    new = client.schema("CodescoringNewWebhook", settings)
    created = client.call(login, "codescoringCreateWebhook", **organization, body=new)
    holds(created.events == triggers[:2], "a webhook is as it was asked for")
    webhook = organization | {"webhook_id": created.id}
    holds(client.call(login, "codescoringGetWebhook", **webhook).name == client.PACKAGE, "a webhook is read")
    replaced = client.schema("CodescoringWebhookSettings", {"name": "Replaced", "url": url})
    holds(client.call(login, "codescoringReplaceWebhook", **webhook, body=replaced).events == [], "a webhook is replaced")
    refreshed = client.call(login, "codescoringRefreshAvailability", **webhook)
    holds(refreshed.is_available, "a webhook is tried")
    patch = client.schema("CodescoringWebhookPatch", {"is_active": False})
    holds(not client.call(login, "codescoringChangeWebhook", **webhook, body=patch).is_active, "a webhook is changed")
    client.call(login, "codescoringListWebhooks", **organization)
    client.call(login, "codescoringDeleteWebhook", **webhook)


def deliveries(client, login, webhook):
    return client.call(login, "listDeliveries", **webhook, limit=10).deliveries


def make_token(client, login, organization):
    settings = client.schema("TokenSettings", {"name": client.PACKAGE, "rights": ["read-deliveries"]})
    made = client.call(login, "createToken", **organization, body=settings)
    holds(made.token.startswith("srt_"), "a token is shown")
    client.call(login, "revokeToken", **organization, token_id=made.id)
    listed = client.call(login, "listTokens", **organization, limit=1000).tokens
    holds(made.id in [one.id for one in listed if one.revoked_at], "a revoked token stays in the list")


def holds(condition, what):
    if not condition:
        raise AssertionError(f"does not hold: {what}")
