//! Pages for everybody: WCAG 2.2 AA, as far as axe-core sees it, in light and dark, wide and narrow.

use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::looks::{SCHEMES, WIDTHS, assert_fits};
use crate::support::stage::Stage;
use crate::support::tour::{furnish, tour};

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

/// Asserts that nothing is wider than the page with text that is twice as large (WCAG 1.4.4), and that all of it is seen.
async fn assert_fits_with_large_text(browser: &Browser, name: &str) {
    const SIZE: &str = "document.documentElement.style.fontSize = arguments[0]; return getComputedStyle(document.body).fontSize";
    let size = async |size: &str| {
        browser
            .client
            .execute(SIZE, vec![size.into()])
            .await
            .unwrap()
    };
    assert_eq!(size("200%").await, "32px");
    assert_fits(browser, name).await;
    let cut = "return [...document.querySelectorAll('button, .button, input, select, .state, .rating')]
        .filter((it) => it.offsetWidth > 1 && it.scrollHeight > it.clientHeight + 2 && it.clientHeight)
        .map((it) => it.outerHTML.slice(0, 200))";
    let cut = browser.script(cut).await;
    assert_eq!(cut, serde_json::json!([]), "{name} cuts text off");
    size("").await;
}

/// Asserts that whoever goes from one thing to the next by the keyboard goes to the right or downwards, as people read.
async fn assert_in_order(browser: &Browser, name: &str) {
    let turns = "const stops = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
            .filter((it) => it.tabIndex >= 0 && !it.disabled && it.checkVisibility() && it.getBoundingClientRect().right > 0
                && !it.matches('main'));
        const back = stops.filter((it) => it.tabIndex > 0).map((it) => it.outerHTML);
        for (let i = 1; i < stops.length; i++) {
            // A menu lies over the page.
            if (stops[i - 1].contains(stops[i]) || stops[i - 1].closest('[popover]') !== stops[i].closest('[popover]')) continue;
            // A text may go on in the next line.
            const [a, b] = [[...stops[i - 1].getClientRects()].at(-1), stops[i].getClientRects()[0]];
            if (b.top < a.bottom - 1 && b.left < a.right - 1)
                back.push(stops[i - 1].outerHTML.slice(0, 150) + ' then ' + stops[i].outerHTML.slice(0, 150));
        }
        return back";
    let back = browser.script(turns).await;
    assert_eq!(back, serde_json::json!([]), "{name} goes back and forth");
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
                assert_in_order(&stage, name).await;
                if axe.is_some() {
                    let found = stage.client.execute_async(CHECK, Vec::new());
                    let found: Value = found.await.unwrap();
                    let found = found.as_array().unwrap().iter();
                    wrong.extend(found.map(|it| format!("{name} {width} {scheme}: {it}")));
                }
            }
        }
        stage.look(WIDTHS[0], SCHEMES[0]).await;
        assert_fits_with_large_text(&stage, name).await;
    })
    .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_said_by_colours_is_said_without_and_nothing_moves() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let content = furnish(&stage).await;
    let media = serde_json::json!({ "features": [
        { "name": "forced-colors", "value": "active" },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ] });
    stage.devtools("Emulation.setEmulatedMedia", media).await;
    for page in [
        "/reports",
        "/reports/acme:shop",
        "/webhooks",
        "/webhooks/new",
        "/tokens",
        content.fails(),
    ] {
        stage.visit(page).await;
        let forced = "return matchMedia('(forced-colors: active)').matches";
        assert_eq!(stage.script(forced).await, true);
        let wrong = "const style = (it) => getComputedStyle(it);
            const bare = [...document.querySelectorAll('button, .button, .rating, .note, input, select, textarea')]
                .filter((it) => it.checkVisibility() && it.type !== 'checkbox' && it.type !== 'radio'
                    && style(it).borderBottomStyle === 'none');
            const mute = [...document.querySelectorAll('.state')].filter((it) => !/\\w{4}/.test(it.innerText));
            const moving = [...document.querySelectorAll('*')]
                .filter((it) => style(it).animationName !== 'none' || style(it).transitionDuration !== '0s');
            return [...bare, ...mute, ...moving].map((it) => it.outerHTML.slice(0, 200))";
        let wrong = stage.script(wrong).await;
        assert_eq!(wrong, serde_json::json!([]), "{page}");
    }
    let focused = "const it = document.querySelector('main a'); it.focus({ focusVisible: true });
        return getComputedStyle(it).outlineStyle";
    assert_eq!(stage.script(focused).await, "solid");
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
