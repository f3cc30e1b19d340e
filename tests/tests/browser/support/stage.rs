//! A system, and a browser in which somebody has signed in to it.

use std::ops::Deref;

use local::DEMO_ORGANIZATION;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use tests::samples::{files, metadata};
use tests::system::{Reply, System, text};
use time::OffsetDateTime;

use crate::support::browser::Browser;

/// Somebody who has signed in, at the organization's products.
#[derive(Debug)]
pub(crate) struct Stage {
    browser: Browser,
    pub(crate) system: System,
    /// The path of the organization's part of the panel.
    pub(crate) base: String,
}

impl Deref for Stage {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Stage {
    /// Starts a system and a browser, where there is one, and signs in.
    pub(crate) async fn enter(role: &str) -> Option<Self> {
        let browser = Browser::start().await?;
        let system = System::start().await;
        browser.enter(&system, role).await;
        Some(Self::of(browser, system).await)
    }

    /// That of a browser in which somebody has signed in to a system just now.
    pub(crate) async fn of(browser: Browser, system: System) -> Self {
        let path = browser.path().await;
        let base = path.strip_suffix("/reports").unwrap_or_default().to_owned();
        Self {
            browser,
            system,
            base,
        }
    }

    /// Opens a page of the organization's.
    pub(crate) async fn visit(&self, path: &str) {
        let url = self.system.url(&format!("{}{path}", self.base));
        self.open(&url).await;
    }

    /// What the panel sends to this browser for a path.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.system.http().get(self.system.url(path));
        request = request.header(COOKIE, self.cookies().await);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.unwrap()).await
    }

    /// Publishes a report on a version, and has webhooks told.
    pub(crate) async fn publish(&self, version: &str) -> String {
        let (report, files) = (metadata(version), files(version));
        let id = self.system.publish(DEMO_ORGANIZATION, &report, &files);
        let id = id.await;
        self.deliver().await;
        id
    }

    /// Delivers what is due.
    pub(crate) async fn deliver(&self) {
        self.system.deliver(OffsetDateTime::now_utc()).await;
    }

    /// Makes a webhook by the API, and gives its page's path within the organization's part.
    pub(crate) async fn webhook(&self, name: &str, url: &str) -> String {
        let webhook = json!({ "name": name, "url": url });
        let webhook = self.system.webhook_with(DEMO_ORGANIZATION, webhook).await;
        format!("/webhooks/{}", text(&webhook["id"]))
    }

    /// The states of the deliveries on a webhook's page, the newest first.
    pub(crate) async fn states(&self) -> Vec<String> {
        self.texts("tbody th .state").await
    }

    /// The webhooks that there are.
    pub(crate) async fn webhooks(&self) -> Vec<Value> {
        let system = &self.system;
        let list = system.manage(DEMO_ORGANIZATION, "GET", "/webhooks", None);
        list.await.json()["webhooks"].as_array().unwrap().clone()
    }
}
