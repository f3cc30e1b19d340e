//! Every page that links lead to.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::stage::Stage;

/// A page of a crawl, which the browser shows.
pub(crate) struct Found<'a> {
    pub(crate) path: &'a str,
    /// The page as it was sent.
    pub(crate) source: &'a str,
}

/// Opens each page that links lead to, and shows it to `each`. Files are fetched, and not opened. Gives the paths.
pub(crate) async fn crawl(stage: &Stage, mut each: impl AsyncFnMut(Found<'_>)) -> BTreeSet<String> {
    let mut waiting = vec![format!("{}/reports", stage.base)];
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let reply = stage.get(&path, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        if path.contains("/files") {
            continue;
        }
        stage.open(&stage.system.url(&path)).await;
        let source = String::from_utf8(reply.body.to_vec()).unwrap();
        let page = Found {
            path: &path,
            source: &source,
        };
        each(page).await;
        let links = stage
            .script(
                "return [...document.links].filter((it) => it.origin === location.origin)
                    .map((it) => it.pathname + it.search)",
            )
            .await;
        waiting.extend(serde_json::from_value::<Vec<String>>(links).unwrap());
    }
    seen
}

/// What was asked for over the network, without what stands in the page itself.
pub(crate) fn requested(network: &[Value]) -> Vec<&str> {
    let requests = network
        .iter()
        .filter(|it| it["method"] == "Network.requestWillBeSent");
    let urls = requests.map(|it| it["params"]["request"]["url"].as_str().unwrap());
    urls.filter(|url| !url.starts_with("data:")).collect()
}
