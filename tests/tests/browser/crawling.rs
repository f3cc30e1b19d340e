//! Every page that links lead to: what it loads, and what the browser says to it.

use local::DEMO_ORGANIZATION;
use reqwest::StatusCode;
use serde_json::json;
use tests::receiver::Receiver;

use crate::support::crawl::{Found, crawl, requested};
use crate::support::stage::Stage;
use crate::support::tour::furnish;

/// So many requests a page may cost.
const MOST_REQUESTS: usize = 4;
/// So many bytes a list of 20 webhooks may be, with all that it loads, as they come over the network.
const MOST_BYTES: u64 = 20 * 1024;
/// So many bytes our script may have, uncompressed.
const MOST_SCRIPT: usize = 8 * 1024;

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
