//! Somebody with a browser, as far as HTTP goes: cookies, redirects that are looked at, forms.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header, redirect};

use crate::system::System;

/// Somebody with a browser.
#[derive(Debug)]
pub struct Visitor {
    client: Client,
    origin: String,
    /// What stands before each path.
    prefix: String,
    /// By host and name.
    cookies: Mutex<BTreeMap<(String, String), String>>,
}

/// What a browser gets.
#[derive(Debug)]
pub struct Seen {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body as text, whatever it is.
    pub text: String,
}

impl Visitor {
    /// Somebody who has not signed in, and has not been let in by the link either.
    pub fn stranger(system: &System) -> Self {
        Self::at(&system.stack.api_url)
    }

    /// The same, of the API at this address.
    pub fn at(api_url: &str) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none());
        let url = Url::parse(api_url).unwrap();
        Self {
            client: client.build().unwrap(),
            origin: url.origin().ascii_serialization(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            cookies: Mutex::default(),
        }
    }

    /// Somebody who has signed in: `administrator`, `editor`, `viewer`, or `nobody`.
    pub async fn signed_in(system: &System, role: &str) -> Self {
        let visitor = Self::stranger(system);
        visitor.enter(system).await;
        let seen = visitor.sign_in("/panel/", role).await;
        assert_eq!(seen.status, 303, "{seen:?}");
        visitor
    }

    /// Follows the link that `local` prints.
    pub async fn enter(&self, system: &System) {
        let seen = self.get(&system.stack.issuer.enter_url()).await;
        assert_eq!(seen.location(), format!("{}/panel/", self.origin));
    }

    /// Signs in, and gives what the callback answers.
    pub async fn sign_in(&self, to: &str, role: &str) -> Seen {
        let callback = self.callback(to, role).await;
        self.get(&callback).await
    }

    /// Goes as far as to where the issuer leads back to, and gives that path.
    pub async fn callback(&self, to: &str, role: &str) -> String {
        let sign_in = format!("{}/panel/sign-in", self.prefix);
        let leaving = self.post(&sign_in, &[("to", to)]).await;
        assert_eq!(leaving.status, 200, "{leaving:?}");
        let address = leaving.between("content=\"0;url=", "\"");
        let page = self.get(&address).await;
        assert_eq!(page.status, 200, "{page:?}");
        let mut fields = page.hidden();
        fields.push(("role".to_owned(), role.to_owned()));
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let form = address.split('?').next().unwrap();
        let done = self.post(form, &fields).await;
        assert_eq!(done.status, 303, "{done:?}");
        let back = done.location();
        back.strip_prefix(&self.origin).unwrap().to_owned()
    }

    /// Looks at a page.
    pub async fn get(&self, path: &str) -> Seen {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a form, as a page of the same origin has a browser do.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let request = self.form(path, fields);
        self.send(request.header("sec-fetch-site", "same-origin"))
            .await
    }

    /// A form, before anything is said of where it comes from.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = url_encoded(fields);
        let form = "application/x-www-form-urlencoded";
        let request = self.request(Method::POST, path);
        request.header(header::CONTENT_TYPE, form).body(body)
    }

    /// A request with the cookies, to a path or an address.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.origin)
        } else {
            path.to_owned()
        };
        let host = host(&Url::parse(&url).unwrap());
        let cookies = self.cookies.lock().unwrap();
        let cookies: Vec<String> = cookies
            .iter()
            .filter(|((of, _), _)| *of == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = self.client.request(method, url);
        request.header(header::COOKIE, cookies.join("; "))
    }

    /// Sends a request, and keeps the cookies of the answer.
    pub async fn send(&self, request: RequestBuilder) -> Seen {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let host = host(response.url());
        let body = response.bytes().await.unwrap();
        self.keep_cookies(&host, &headers);
        Seen {
            status,
            headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    fn keep_cookies(&self, host: &str, headers: &header::HeaderMap) {
        let mut cookies = self.cookies.lock().unwrap();
        for cookie in headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host.to_owned(), name.to_owned());
            if attributes.contains("Max-Age=0") {
                cookies.remove(&key);
            } else {
                cookies.insert(key, value.to_owned());
            }
        }
    }

    /// By TLS cookies are called otherwise than without, where they have the port in their names.
    fn key_of(&self, name: &str) -> (String, String) {
        let url = Url::parse(&self.origin).unwrap();
        let name = match url.port() {
            Some(port) => format!("{name}-{port}"),
            None => format!("__Host-{name}"),
        };
        (host(&url), name)
    }

    /// The cookie of its session, as it is sent.
    pub fn session(&self) -> String {
        let (host, name) = self.key_of("session");
        let cookies = self.cookies.lock().unwrap();
        format!("{name}={}", cookies[&(host, name.clone())])
    }

    /// A cookie of the panel's that it has.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let key = self.key_of(name);
        self.cookies.lock().unwrap().get(&key).cloned()
    }

    /// Gives it a cookie of the panel's.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let key = self.key_of(name);
        self.cookies.lock().unwrap().insert(key, value.to_owned());
    }

    /// The path of the organization's part of the panel, where it has only one.
    pub async fn home(&self) -> String {
        let seen = self.get(&format!("{}/panel/", self.prefix)).await;
        let home = seen.location();
        home.strip_suffix("/reports").unwrap().to_owned()
    }

    /// Every page that can be come to from `path` by links, with what was seen there.
    pub async fn crawl(&self, path: &str) -> BTreeMap<String, Seen> {
        let mut seen = BTreeMap::new();
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            if seen.contains_key(&path) {
                continue;
            }
            let page = self.get(&path).await;
            if page.header("content-type").starts_with("text/html") && !path.contains("/files/") {
                let here = Url::parse(&format!("{}{path}", self.origin)).unwrap();
                for link in page.links() {
                    let mut link = here.join(&link).unwrap();
                    link.set_fragment(None);
                    if let Some(path) = link.as_str().strip_prefix(&self.origin) {
                        waiting.push(path.to_owned());
                    }
                }
            }
            seen.insert(path, page);
        }
        seen
    }
}

impl Seen {
    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// Where a redirect leads.
    pub fn location(&self) -> String {
        assert_eq!(self.status, 303, "{self:?}");
        self.header("location").to_owned()
    }

    /// What stands between two texts for the first time, without HTML's escapes.
    pub fn between(&self, before: &str, after: &str) -> String {
        let (_, rest) = self
            .text
            .split_once(before)
            .unwrap_or_else(|| panic!("no {before}: {self:?}"));
        unescaped(rest.split_once(after).unwrap().0)
    }

    /// The hidden fields of a page's forms, in their order.
    pub fn hidden(&self) -> Vec<(String, String)> {
        let inputs = self.text.split("<input type=\"hidden\" name=\"").skip(1);
        let fields = inputs.map(|rest| {
            let (name, rest) = rest.split_once('"').unwrap();
            let value = rest.split_once("value=\"").unwrap().1;
            (unescaped(name), unescaped(value.split_once('"').unwrap().0))
        });
        fields.collect()
    }

    /// A hidden field.
    pub fn field(&self, name: &str) -> String {
        let hidden = self.hidden().into_iter().find(|(it, _)| it == name);
        hidden
            .unwrap_or_else(|| panic!("no field {name}: {self:?}"))
            .1
    }

    /// Where links of a page lead, what it loads, and where its forms go that change nothing.
    pub fn links(&self) -> Vec<String> {
        let of = |name: &str| {
            let before = format!(" {name}=\"");
            let parts = self.text.split(&before).skip(1);
            let parts = parts.map(|rest| unescaped(rest.split_once('"').unwrap().0));
            parts.collect::<Vec<_>>()
        };
        [of("href"), of("src")].concat()
    }
}

/// Cookies know hosts and no ports, but each server of a test has a port of its own.
fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn url_encoded(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://localhost/").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn unescaped(text: &str) -> String {
    [
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&gt;", ">"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escape, char)| {
        text.replace(escape, char)
    })
}
