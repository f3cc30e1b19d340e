//! Pictures of every page and state, to be looked at: no program sees that a sign is missing or that two texts overlap.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::system::text;

use crate::support::looks::{SCHEMES, WIDTHS};
use crate::support::stage::Stage;
use crate::support::tour::tour;

/// The folder that pictures go into, if somebody wants some.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says where pictures go"
)]
fn folder() -> Option<PathBuf> {
    std::env::var_os("SCREENSHOTS").map(PathBuf::from)
}

#[tokio::test]
async fn screenshots() {
    let Some(folder) = folder() else {
        return;
    };
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let mut number = 0;
    tour(&stage, async |name: &str| {
        number += 1;
        for width in WIDTHS {
            for scheme in SCHEMES {
                stage.look(width, scheme).await;
                let script = "return document.documentElement.scrollHeight";
                let height = stage.script(script).await;
                let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
                let whole = json!({ "captureBeyondViewport": true, "clip": clip });
                let picture = stage.devtools("Page.captureScreenshot", whole).await;
                let picture = STANDARD.decode(text(&picture["data"])).unwrap();
                let file = format!("{number:02} {name} {width} {scheme}.png").replace(' ', "-");
                std::fs::write(folder.join(file), picture).unwrap();
            }
        }
        stage.look(WIDTHS[0], SCHEMES[0]).await;
    })
    .await;
    println!("{number} pages and states are in {}", folder.display());
}
