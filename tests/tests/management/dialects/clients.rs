//! Requests as known clients of `SonarQube`'s Web API send them, and what they need of the answers.

use domain::organization::OrganizationId;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tests::system::{Reply, System, organization, text};

use super::support::{manager, with_form};
use crate::support::{URL, list};

/// A client: how it logs in, and how it sends parameters.
struct Client {
    name: &'static str,
    log_in: fn(RequestBuilder, &str) -> RequestBuilder,
    /// Adds the parameters of a call that changes something.
    parameters: fn(RequestBuilder, &[(&str, &str)]) -> RequestBuilder,
    /// What it sends along with an update, though it is none of its parameters.
    with_update: &'static [(&'static str, &'static str)],
    /// What it sends along with a list.
    with_list: &'static [(&'static str, &'static str)],
}

fn basic(request: RequestBuilder, token: &str) -> RequestBuilder {
    request.basic_auth(token, Some(""))
}

fn in_query(request: RequestBuilder, parameters: &[(&str, &str)]) -> RequestBuilder {
    request.query(parameters)
}

const CLIENTS: [Client; 6] = [
    Client {
        name: "Terraform's provider (jdamata/sonarqube): all in the query, no body, no type of one",
        log_in: basic,
        parameters: in_query,
        with_update: &[("project", "acme:shop")],
        with_list: &[],
    },
    Client {
        name: "sonarqube-client-go (BoxBoxJason): all in the query, no body, and JSON as its type",
        log_in: basic,
        parameters: |request, parameters| {
            request
                .query(parameters)
                .header("content-type", "application/json")
        },
        with_update: &[],
        with_list: &[],
    },
    Client {
        name: "go-sonarqube (shijl0925): a form",
        log_in: basic,
        parameters: with_form,
        with_update: &[],
        with_list: &[],
    },
    Client {
        name: "python-sonarqube-api (shijl0925): a form of requests",
        log_in: basic,
        parameters: |request, parameters| with_form(request, parameters).header("accept", "*/*"),
        with_update: &[],
        with_list: &[],
    },
    Client {
        name: "Port (port-labs/ocean), as with SonarQube Cloud: a bearer, an organization",
        log_in: |request, token| request.bearer_auth(token),
        parameters: |request, parameters| {
            let request = request.query(parameters).query(&[("organization", "acme")]);
            request.header("content-type", "application/json")
        },
        with_update: &[],
        with_list: &[("organization", "acme")],
    },
    Client {
        name: "curl -u token: -d …",
        log_in: basic,
        parameters: |request, parameters| {
            let pairs = parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let body = pairs.collect::<Vec<_>>().join("&");
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            request.header("user-agent", "curl/8.5.0").body(body)
        },
        with_update: &[],
        with_list: &[],
    },
];

/// A client in front of an organization.
struct Session<'a> {
    system: &'a System,
    client: &'a Client,
    org: OrganizationId,
    token: String,
}

impl Session<'_> {
    fn request(&self, method: &str, action: &str) -> RequestBuilder {
        let path = format!("/sonarqube/{}/api/{action}", self.org);
        (self.client.log_in)(self.system.request(method, &path), &self.token)
    }

    async fn post(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let request = self.request("POST", &format!("webhooks/{action}"));
        self.system
            .send((self.client.parameters)(request, parameters))
            .await
    }

    async fn get(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let request = self.request("GET", action);
        let request = request.query(parameters).query(self.client.with_list);
        self.system.send(request).await
    }
}

#[tokio::test]
async fn each_client_makes_lists_changes_and_deletes_a_webhook() {
    let system = System::start().await;
    for client in &CLIENTS {
        let org = organization();
        let token = manager(&system, org).await;
        let session = Session {
            system: &system,
            client,
            org,
            token,
        };
        // Before anything else.
        let info = session.get("system/info", &[]).await;
        assert_eq!(info.status, 200, "{}", client.name);
        assert!(info.json()["System"]["Version"].is_string());

        let secret = ("secret", "correct-horse-battery-staple");
        let project = ("project", "acme:shop");
        let webhook = [("name", "Jenkins"), ("url", URL), project, secret];
        let created = session.post("create", &webhook).await;
        // Exactly that, for Terraform.
        assert_eq!(created.status, 200, "{created:?}");
        let key = text(&created.json()["webhook"]["key"]);

        let found = session.get("webhooks/list", &[project]).await;
        assert_eq!(found.status, 200);
        let found = found.json()["webhooks"].as_array().unwrap().clone();
        let one = json!({"key": key, "name": "Jenkins", "url": URL, "hasSecret": true});
        assert_eq!(found, [one]);

        let other = [("webhook", &*key), ("name", "Other"), ("url", URL)];
        let updated = session
            .post("update", &[&other[..], client.with_update].concat())
            .await;
        assert_eq!(
            (updated.status.as_u16(), updated.body.len()),
            (204, 0),
            "{updated:?}"
        );
        let [here] = list(&system, org).await.try_into().unwrap();
        assert_eq!(
            (&here["name"], &here["project"], &here["hasSecret"]),
            (&json!("Other"), &json!("acme:shop"), &json!(true))
        );

        // Page by page, until there is no more.
        let deliveries = session
            .get(
                "webhooks/deliveries",
                &[("webhook", &*key), ("p", "1"), ("ps", "100")],
            )
            .await;
        let paging = &deliveries.json()["paging"];
        assert_eq!(
            *paging,
            json!({"pageIndex": 1, "pageSize": 100, "total": 0})
        );

        let deleted = session.post("delete", &[("webhook", &*key)]).await;
        assert_eq!(
            (deleted.status.as_u16(), deleted.body.len()),
            (204, 0),
            "{deleted:?}"
        );
        // Whatever it is, they read errors[0].msg of it.
        for reply in [
            session.post("delete", &[("webhook", &*key)]).await,
            session
                .post("create", &[("name", "n"), ("url", "none")])
                .await,
            session.get("webhooks/unknown", &[]).await,
        ] {
            assert!(reply.status.is_client_error());
            let errors: Value = reply.json();
            assert!(errors["errors"][0]["msg"].is_string(), "{errors}");
        }
    }
}
