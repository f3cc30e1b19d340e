//! Every page that links lead to: what it loads, and what the browser says to it.

use std::collections::BTreeSet;

use local::DEMO_ORGANIZATION;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::Receiver;

use crate::support::stage::Stage;
use crate::support::tour::furnish;

/// So many requests a page may cost.
const MOST_REQUESTS: usize = 4;
/// So many bytes a list of 20 webhooks may be, with all that it loads, as they come over the network.
const MOST_BYTES: u64 = 20 * 1024;
/// So many bytes our script may have, uncompressed.
const MOST_SCRIPT: usize = 8 * 1024;

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

#[tokio::test]
async fn pages_load_little_and_from_here_and_no_browser_complains() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let _content = furnish(&stage).await;
    let without_cache = json!({ "cacheDisabled": true });
    stage
        .devtools("Network.setCacheDisabled", without_cache)
        .await;
    stage.network().await;
    stage.log("browser").await;
    let ours = stage.system.url("/");
    let found = crawl(&stage, async |page: Found<'_>| {
        let path = page.path;
        let complaints = stage.log("browser").await;
        assert!(complaints.is_empty(), "{path}: {complaints:?}");
        let network = stage.network().await;
        let requests = requested(&network);
        assert!(requests.len() <= MOST_REQUESTS, "{path}: {requests:?}");
        let others: Vec<_> = requests
            .iter()
            .filter(|url| !url.starts_with(&ours))
            .collect();
        assert!(others.is_empty(), "{path}: {others:?}");
        assert!(requests.len() > 1, "it has a style: {requests:?}");
    });
    let found = found.await;
    assert!(found.len() > 30, "{found:?}");
}

#[tokio::test]
async fn a_list_of_twenty_webhooks_is_small() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    for number in 0..20 {
        let webhook = json!({
            "name": format!("Ticket system {number}"), "url": format!("{}{number}", receiver.url),
            "projects": [format!("project-{number}")], "events": ["report.published"],
        });
        stage.system.webhook_with(DEMO_ORGANIZATION, webhook).await;
    }
    let without_cache = json!({ "cacheDisabled": true });
    stage
        .devtools("Network.setCacheDisabled", without_cache)
        .await;
    stage.network().await;
    stage.visit("/webhooks").await;
    assert_eq!(stage.count("tbody tr").await, 20);
    let network = stage.network().await;
    let bytes = network
        .iter()
        .filter(|it| it["method"] == "Network.loadingFinished");
    let bytes = bytes.map(|it| it["params"]["encodedDataLength"].as_f64().unwrap() as u64);
    let (count, bytes) = (requested(&network).len(), bytes.sum::<u64>());
    assert!((2..=MOST_REQUESTS).contains(&count), "{network:?}");
    assert!((1..=MOST_BYTES).contains(&bytes), "{bytes} bytes");
    println!("{count} requests, {bytes} bytes");

    let script = stage.find("script").await.attr("src").await.unwrap();
    let script = stage.get(&script.unwrap(), &[]).await;
    assert_eq!(script.status, StatusCode::OK);
    assert!((1..=MOST_SCRIPT).contains(&script.body.len()), "{script:?}");
    let list = format!("{}/webhooks", stage.base);
    let packed = stage.get(&list, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
}
