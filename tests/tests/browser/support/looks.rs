//! How a page may look.

use crate::support::browser::Browser;

/// The widths of a desk and of a telephone, or of a page that is enlarged four times (WCAG 1.4.10).
pub(crate) const WIDTHS: [u32; 2] = [1280, 320];
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// Asserts that nothing is wider than the page.
pub(crate) async fn assert_fits(browser: &Browser, name: &str) {
    let wide = "const page = document.documentElement;
        return page.scrollWidth <= page.clientWidth ? [] : [...document.querySelectorAll('main *, header *')]
            .filter((it) => it.getBoundingClientRect().right > innerWidth && !it.closest('.scroll'))
            .map((it) => it.outerHTML.slice(0, 200)).concat([page.scrollWidth])";
    let wide = browser.script(wide).await;
    assert_eq!(wide, serde_json::json!([]), "{name} is too wide");
}
