//! Pages for everybody: WCAG 2.2 AA, as far as axe-core sees it, in light and dark, wide and narrow.

use serde_json::Value;

use crate::browser::Browser;
use crate::stage::Stage;
use crate::tour::tour;

/// The widths of a desk and of a telephone, or of a page that is enlarged four times (WCAG 1.4.10).
pub(crate) const WIDTHS: [u32; 2] = [1280, 320];
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// What axe-core finds. A frame has somebody else's page in it.
const CHECK: &str = "
const [done] = [...arguments].slice(-1);
axe.run(document, {
  iframes: false, resultTypes: ['violations'],
  runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] },
  rules: { 'target-size': { enabled: true } },
}).then(({ violations }) => done(violations.flatMap(({ id, nodes }) =>
  nodes.map((it) => `${id}: ${it.html} ${it.failureSummary}`))));
";

/// Asserts that nothing is wider than the page.
pub(crate) async fn assert_fits(browser: &Browser, name: &str) {
    let wide = "const page = document.documentElement;
        return page.scrollWidth <= page.clientWidth ? [] : [...document.querySelectorAll('main *, header *')]
            .filter((it) => it.getBoundingClientRect().right > innerWidth && !it.closest('.scroll'))
            .map((it) => it.outerHTML.slice(0, 200)).concat([page.scrollWidth])";
    let wide = browser.script(wide).await;
    assert_eq!(wide, serde_json::json!([]), "{name} is too wide");
}

/// The source of axe-core, where there is one. CI has it.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says where axe-core is"
)]
fn axe() -> Option<String> {
    let path = std::env::var_os("AXE");
    assert!(
        path.is_some() || std::env::var_os("CI").is_none(),
        "CI has no AXE"
    );
    path.map(|path| std::fs::read_to_string(path).unwrap())
}

#[tokio::test]
async fn every_page_in_every_state_is_for_everybody() {
    let axe = axe();
    if axe.is_none() {
        println!("skipped in part: AXE does not say where axe.min.js is");
    }
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let mut wrong = Vec::new();
    stage.log("browser").await;
    tour(&stage, async |name: &str| {
        // That a page has a status of an error is no complaint about it.
        let complaints = stage.log("browser").await.into_iter();
        let complaints = complaints.map(|it| it["message"].as_str().unwrap().to_owned());
        let complaints = complaints.filter(|it| !it.contains("Failed to load resource"));
        wrong.extend(complaints.map(|it| format!("{name}: {it}")));
        if let Some(axe) = &axe {
            stage.script(axe).await;
        }
        for width in WIDTHS {
            for scheme in SCHEMES {
                stage.look(width, scheme).await;
                assert_fits(&stage, name).await;
                if axe.is_some() {
                    let found = stage.client.execute_async(CHECK, Vec::new());
                    let found: Value = found.await.unwrap();
                    let found = found.as_array().unwrap().iter();
                    wrong.extend(found.map(|it| format!("{name} {width} {scheme}: {it}")));
                }
            }
        }
        stage.look(WIDTHS[0], SCHEMES[0]).await;
    })
    .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_menu_is_within_a_narrow_page() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    for name in [
        "A rather long name of a webhook",
        "Another",
        "One more",
        "The last",
    ] {
        stage
            .webhook(name, "https://example.com/a/rather/long/path")
            .await;
    }
    stage.look(320, "light").await;
    stage.visit("/webhooks").await;
    for nth in [1, 4] {
        stage.click(&format!("(//*[@popovertarget])[{nth}]")).await;
        let place = "const box = document.querySelector(':popover-open').getBoundingClientRect();
            return [box.left >= 0, box.right <= innerWidth, box.top >= 0, box.bottom <= innerHeight]";
        let place = stage.script(place).await;
        assert_eq!(place, serde_json::json!([true, true, true, true]));
        stage.press('\u{e00c}', false).await;
    }
}
