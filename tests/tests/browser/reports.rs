//! Reports: in their order, narrowed down, and their files.

use local::DEMO_ORGANIZATION;
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::browser::{button, link};
use crate::support::stage::Stage;

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The texts of the plot, from left to right: a count with its rating, and a version, of each.
async fn plotted(stage: &Stage) -> Vec<String> {
    let script =
        "return [...document.querySelectorAll('svg.trend text')].map((it) => it.textContent)";
    let texts = stage.script(script).await;
    let texts: Vec<String> = serde_json::from_value(texts).unwrap();
    let versions = texts.into_iter().skip(1).step_by(2);
    versions.collect()
}

#[tokio::test]
async fn versions_are_in_their_order_and_files_are_those_of_the_api() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    for version in ["1.0.1", "1.0", "1.10", "1.0-rc.1"] {
        stage.publish(version).await;
    }
    stage.visit("/reports").await;
    stage.fill("#filter", "nothing").await;
    stage.follow(&button("Filter")).await;
    assert_eq!(stage.count("tbody tr").await, 0);
    stage.fill("#filter", "test PROD").await;
    stage.follow(&button("Filter")).await;
    stage.follow(&link("Test product")).await;
    let rows = "tbody th a";
    let newest_first = ["1.10", "1.0.1", "1.0", "1.0-rc.1"];
    assert_eq!(stage.texts(rows).await, newest_first);
    let mut plot = plotted(&stage).await;
    plot.reverse();
    assert_eq!(plot, newest_first);
    let hollow = "return document.querySelectorAll('svg.trend circle:not(.full)').length";
    assert_eq!(stage.script(hollow).await, 1);

    stage.fill("#from", "1.0").await;
    stage.fill("#to", "1.0.1").await;
    stage.follow(&button("Filter")).await;
    assert_eq!(stage.texts(rows).await, ["1.0.1", "1.0"]);
    assert_eq!(plotted(&stage).await, ["1.0", "1.0.1"]);
    assert!(stage.path().await.contains("from=1.0&to=1.0.1"));

    stage.fill("#to", "no version").await;
    stage.follow(&button("Filter")).await;
    assert_eq!(stage.status().await, 400);
    assert_eq!(stage.count("[aria-invalid=true]").await, 1);
    assert_eq!(stage.count("#to[aria-invalid=true]").await, 1);
    assert_eq!(stage.value("#from").await, "1.0");
    assert_eq!(stage.value("#to").await, "no version");
    assert_eq!(stage.texts(rows).await, newest_first);
    let focused = stage
        .script("return document.activeElement.className")
        .await;
    assert_eq!(focused, "note bad");

    // Each file is what the API gives.
    stage.follow(&link("1.10")).await;
    let script = "return {
        page: document.querySelector('iframe').src,
        files: [...document.querySelectorAll('.files a')].map((it) => it.href),
    }";
    let found = stage.script(script).await;
    let id = stage.path().await.rsplit('/').next().unwrap().to_owned();
    let files = found["files"].as_array().unwrap();
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(files[0], found["page"]);
    let org = DEMO_ORGANIZATION;
    let of_api = |name: &str| format!("/security/report/file?org={org}&report={id}&name={name}");
    for (address, path) in files.iter().zip([
        of_api("report.html"),
        of_api("report.pdf"),
        format!("/security/report/files?org={org}&reports={id}"),
    ]) {
        let address: &Value = address;
        let address = address
            .as_str()
            .unwrap()
            .strip_prefix(&stage.system.url(""));
        let of_panel = stage.get(address.unwrap(), &[]).await;
        let of_api = stage.system.get(&path).await;
        assert_eq!(of_panel.status, StatusCode::OK, "{path}");
        assert_eq!(digest(&of_panel.body), digest(&of_api.body), "{path}");
        assert!(!of_api.body.is_empty());
        for name in ["content-type", "content-disposition"] {
            assert_eq!(of_panel.header(name), of_api.header(name), "{path}");
        }
    }
    stage.client.enter_frame(0).await.unwrap();
    assert!(stage.says().await.starts_with("About 1.10."));
    stage.client.enter_parent_frame().await.unwrap();

    // What is chosen in the table comes as one archive.
    stage.visit("/reports/acme:shop").await;
    stage.follow(&button("Download the chosen as ZIP")).await;
    assert_eq!(stage.text("h1").await, "No reports chosen");
    let too_many = vec![format!("reports={id}"); 101].join("&");
    stage.visit(&format!("/files?{too_many}")).await;
    assert_eq!(stage.text("h1").await, "Too many reports");
    assert!(stage.says().await.contains("101 reports"));
    stage.visit("/reports/acme:shop").await;
    let script = "const form = document.querySelector('form[action$=\"/files\"]');
        for (const box of [...form.elements.reports].slice(0, 2)) box.checked = true;
        return new URLSearchParams(new FormData(form)).toString()";
    let chosen = tests::system::text(&stage.script(script).await);
    let address = format!("{}/files?{chosen}", stage.base);
    let of_panel = stage.get(&address, &[]).await;
    let ids = chosen.replace("&reports=", ",");
    let of_api = format!("/security/report/files?org={org}&{ids}");
    let of_api = stage.system.get(&of_api).await;
    assert_eq!(digest(&of_panel.body), digest(&of_api.body), "{address}");
}
