//! A Chromium of a test's own, which reaches nothing but this machine.

use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::system::{System, text};
use tests::tools;

use crate::support::driver::{Driver, Own};

/// How long a test waits for something in a page before it fails: far longer than anything on loopback takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks.
const EVERY: Duration = Duration::from_millis(20);
/// The window, unless a test says otherwise.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 900;

/// A browser with a profile of its own.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    _driver: Driver,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser, where there is one.
    pub(crate) async fn start() -> Option<Self> {
        let (Some(driver), Some(_)) = (tools::find("chromedriver"), tools::find("chromium")) else {
            tell("skipped: there is no chromedriver, or no chromium, in the PATH");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let driver = Driver::start(driver);
        let arguments = [
            "headless=new".to_owned(),
            "no-sandbox".to_owned(),
            "disable-gpu".to_owned(),
            "disable-dev-shm-usage".to_owned(),
            "no-proxy-server".to_owned(),
            "no-first-run".to_owned(),
            // A page is as wide as its window, as where scrollbars lie over it.
            "hide-scrollbars".to_owned(),
            "disable-background-networking".to_owned(),
            "disable-component-update".to_owned(),
            // Nothing leaves this machine.
            "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost".to_owned(),
            format!("window-size={WIDTH},{HEIGHT}"),
            format!("user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "WARNING", "performance": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is an object")
        };
        let address = format!("http://127.0.0.1:{}", driver.port);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(Capabilities::from_iter(capabilities))
            .connect(&address)
            .await
            .unwrap();
        Some(Self {
            client,
            _driver: driver,
            _profile: profile,
        })
    }

    /// Opens an address, such as one of a [`System`].
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Signs in by the link that `local` prints, and is at the organization's products, unless it is nobody.
    pub(crate) async fn enter(&self, system: &System, role: &str) {
        self.open(&system.stack.issuer.enter_url()).await;
        self.sign_in(role).await;
    }

    /// Signs in where it is asked for.
    pub(crate) async fn sign_in(&self, role: &str) {
        self.click(&button("Sign in")).await;
        self.follow(&format!("#{role}")).await;
        self.until_script(
            "the panel",
            "return location.pathname.startsWith('/panel/')",
        )
        .await;
    }

    /// The first element that is there, as soon as one is: by a CSS selector, or by an `XPath` that begins with a slash.
    pub(crate) async fn find(&self, what: &str) -> Element {
        let began = Instant::now();
        loop {
            // A page that is just being left answers nothing.
            let wait = self.client.wait().at_most(PATIENCE).every(EVERY);
            match wait.for_element(locator(what)).await {
                Ok(element) => return element,
                Err(CmdError::NotW3C(_)) if began.elapsed() < PATIENCE => {}
                Err(error) => self.fail(&format!("there is no {what}: {error}")).await,
            }
        }
    }

    /// How many elements are like that, now.
    pub(crate) async fn count(&self, what: &str) -> usize {
        self.client.find_all(locator(what)).await.unwrap().len()
    }

    /// What an element says.
    pub(crate) async fn text(&self, what: &str) -> String {
        self.find(what).await.text().await.unwrap()
    }

    /// What all elements like that say.
    pub(crate) async fn texts(&self, what: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.client.find_all(locator(what)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    /// What the page says.
    pub(crate) async fn says(&self) -> String {
        self.text("body").await
    }

    /// Clicks something that leads nowhere, or through several pages.
    pub(crate) async fn click(&self, what: &str) {
        let element = self.find(what).await;
        if let Err(error) = element.click().await {
            self.fail(&format!("{what} cannot be clicked: {error}"))
                .await
        }
    }

    /// Clicks something that leads to another page, and waits for it.
    pub(crate) async fn follow(&self, what: &str) {
        let before = self.document().await;
        self.click(what).await;
        self.until_another(&before).await;
    }

    /// Which document there is.
    pub(crate) async fn document(&self) -> Value {
        self.script("return performance.timeOrigin").await
    }

    /// Waits until there is another document than that.
    pub(crate) async fn until_another(&self, before: &Value) {
        let script =
            "return performance.timeOrigin !== arguments[0] && document.readyState === 'complete'";
        self.until("another page", script, vec![before.clone()])
            .await;
    }

    /// Types a text into a field instead of what is there.
    pub(crate) async fn fill(&self, what: &str, text: &str) {
        let field = self.find(what).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// The value of a field.
    pub(crate) async fn value(&self, what: &str) -> String {
        let value = self.find(what).await.prop("value").await.unwrap();
        value.unwrap_or_default()
    }

    /// Presses a key, with Shift or without, wherever the focus is.
    pub(crate) async fn press(&self, key: char, shift: bool) {
        const SHIFT: char = '\u{e008}';
        let mut keys = KeyActions::new("keyboard".to_owned());
        if shift {
            keys = keys.then(KeyAction::Down { value: SHIFT });
        }
        keys = keys
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        if shift {
            keys = keys.then(KeyAction::Up { value: SHIFT });
        }
        self.client.perform_actions(keys).await.unwrap();
    }

    /// What a script returns.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script returns true.
    pub(crate) async fn until_script(&self, what: &str, script: &str) {
        self.until(what, script, Vec::new()).await;
    }

    async fn until(&self, what: &str, script: &str, arguments: Vec<Value>) {
        let began = Instant::now();
        loop {
            // In between two pages there is none in which a script could run.
            let found = self.client.execute(script, arguments.clone()).await;
            if matches!(found, Ok(Value::Bool(true))) {
                return;
            }
            if began.elapsed() > PATIENCE {
                self.fail(&format!("waited for {what} in vain: {found:?}"))
                    .await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The status with which the page came.
    pub(crate) async fn status(&self) -> u64 {
        let script = "return performance.getEntriesByType('navigation')[0].responseStatus";
        self.script(script).await.as_u64().unwrap()
    }

    /// The path of the page, with its query.
    pub(crate) async fn path(&self) -> String {
        text(
            &self
                .script("return location.pathname + location.search")
                .await,
        )
    }

    /// The page as it came, and not as scripts have made it.
    pub(crate) async fn source(&self) -> String {
        self.client.source().await.unwrap()
    }

    /// Calls the protocol of Chrome's developer tools.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = Own::devtools(command, &parameters);
        self.client.issue_cmd(command).await.unwrap()
    }

    /// What a log has since it was asked for last.
    pub(crate) async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.client.issue_cmd(Own::log(kind)).await.unwrap();
        log.as_array().unwrap().clone()
    }

    /// What went over the network since this was asked for last: the events of the protocol's domain `Network`.
    pub(crate) async fn network(&self) -> Vec<Value> {
        let log = self.log("performance").await.into_iter();
        let events = log.map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            event["message"].clone()
        });
        let is_network = |event: &Value| event["method"].as_str().unwrap().starts_with("Network.");
        events.filter(is_network).collect()
    }

    /// Sets the width of the page in CSS pixels, and which colours its reader likes.
    pub(crate) async fn look(&self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// The header `Cookie` that the browser sends to the panel.
    pub(crate) async fn cookies(&self) -> String {
        let cookies = self.client.get_all_cookies().await.unwrap();
        let pairs = cookies
            .iter()
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Fails, and shows where.
    async fn fail(&self, why: &str) -> ! {
        let url = self.client.current_url().await.map(|it| it.to_string());
        let says = match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await,
            Err(error) => Err(error),
        };
        panic!("{why}\nat {}\n{}", or_error(url), or_error(says));
    }
}

fn or_error(result: Result<String, CmdError>) -> String {
    result.unwrap_or_else(|error| error.to_string())
}

fn locator(what: &str) -> Locator<'_> {
    if what.starts_with('/') || what.starts_with('(') {
        Locator::XPath(what)
    } else {
        Locator::Css(what)
    }
}

/// A button that says this.
pub(crate) fn button(says: &str) -> String {
    format!("//button[normalize-space()='{says}'][not(@aria-hidden)]")
}

/// A link that says this.
pub(crate) fn link(says: &str) -> String {
    format!("//a[normalize-space()='{says}']")
}

/// Says something to who runs the tests.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn tell(text: &str) {
    println!("{text}");
}
