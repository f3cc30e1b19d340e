//! The messages: their bodies by format, and the headers of every attempt.

pub mod batch;
pub mod codescoring;
pub mod reports;
pub mod sonarqube;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use domain::analysis::AnalysisEvent;
use domain::codescoring::TOKEN_HEADER;
use domain::delivery::message::Message;
use domain::event::{Change, EVENTS_HEADER, Event, TEST_EVENT};
use domain::organization::OrganizationId;
use domain::source::call::HOPS_HEADER;
use domain::webhook::Settings;
use domain::webhook::format::Format;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use time::OffsetDateTime;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_EVENT: HeaderName = HeaderName::from_static(EVENTS_HEADER);
const SONAR_SIGNATURE: HeaderName = HeaderName::from_static("x-sonar-webhook-hmac-sha256");
const SONAR_PROJECT: HeaderName = HeaderName::from_static("x-sonarqube-project");

/// The product in [`USER_AGENT`] (RFC 9110, section 10.1.5).
const PRODUCT: &str = "SonarQube-Reports/";
const USER_AGENT: &str = concat!("SonarQube-Reports/", env!("CARGO_PKG_VERSION"));

/// The messages of a format that tell of these changes, in their order. There are as few as the format's limits allow.
pub fn messages(
    format: Format,
    org: OrganizationId,
    changes: &[Arc<Change>],
) -> anyhow::Result<Vec<Message>> {
    match format {
        Format::Reports => reports::messages(org, changes),
        Format::Sonarqube => sonarqube::messages(changes),
        Format::Codescoring => codescoring::messages(changes),
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The `webhook-id`, which is the same in every attempt: the receiver's idempotency key.
    pub id: String,
    /// The `X-Webhook-Event`.
    pub events: String,
    /// The `X-SonarQube-Project`.
    pub project: Option<String>,
    /// How many stacks of this product the changes came through before.
    pub hops: u32,
    /// The body.
    pub body: Bytes,
}

impl Outgoing {
    /// A test call at `now` for a webhook with these settings.
    pub fn test(id: String, org: OrganizationId, settings: &Settings, now: OffsetDateTime) -> Self {
        let project = settings.wanted.only_project();
        let (body, project) = match settings.wanted.format {
            Format::Reports => {
                let sample = reports::sample(org, TEST_EVENT, project);
                (sample.body, Some(sample.project))
            }
            Format::Sonarqube => {
                let (body, project) = sonarqube::sample(AnalysisEvent::Completed, project);
                (body, Some(project))
            }
            Format::Codescoring => (codescoring::test(now), None),
        };
        Self {
            id,
            events: TEST_EVENT.to_owned(),
            project,
            hops: 0,
            body: body.to_string().into(),
        }
    }

    /// The headers of an attempt at this time, signed with every secret that signs then.
    ///
    /// Our headers override the administrator's own. A header of an administrator's that is named like one of ours is refused
    /// when it is set.
    pub fn headers(&self, settings: &Settings, now: OffsetDateTime) -> anyhow::Result<HeaderMap> {
        let seconds = now.unix_timestamp();
        // Receivers of CodeScoring's calls do not know SonarQube.
        let is_sonar = settings.wanted.format != Format::Codescoring;
        let signatures: Vec<String> = settings
            .secrets
            .signing(now)
            .map(|secret| secret.sign(&self.id, seconds, &self.body))
            .collect();
        let mut headers = HeaderMap::new();
        for own in &settings.headers {
            let mut value = HeaderValue::from_str(&own.value)?;
            value.set_sensitive(true);
            headers.insert(own.name.parse::<HeaderName>()?, value);
        }
        headers.insert(WEBHOOK_ID, self.id.parse()?);
        headers.insert(WEBHOOK_TIMESTAMP, seconds.into());
        if let Some(secret) = &settings.secrets.secret {
            headers.insert(WEBHOOK_SIGNATURE, signatures.join(" ").parse()?);
            if is_sonar {
                // This header has room for one signature only, so the current secret signs it.
                headers.insert(SONAR_SIGNATURE, secret.sign_body(&self.body).parse()?);
            }
        }
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::from_str(token.reveal())?;
            value.set_sensitive(true);
            headers.insert(TOKEN_HEADER, value);
        }
        // SonarQube's keys fit into a header. Other names of a project may not.
        if is_sonar && let Some(Ok(project)) = self.project.as_ref().map(|it| it.parse()) {
            headers.insert(SONAR_PROJECT, project);
        }
        headers.insert(WEBHOOK_EVENT, self.events.parse()?);
        headers.insert(HOPS_HEADER, (self.hops + 1).into());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        Ok(headers)
    }
}

/// Whether only we may set a header, or whether it would change how the message is understood on its way.
///
/// The name is in lower case.
pub fn is_reserved(name: &str) -> bool {
    // CGI and its successors treat `-` and `_` alike (RFC 3875, section 4.1.18).
    let name = name.replace('_', "-");
    RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Reserved names, grouped by the reason.
const RESERVED: &[&str] = &[
    // The connection and the framing of the message, which belong to the client (RFC 9110, sections 7.6.1, 7.7 and 10.1).
    "connection",
    "date",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // What we say of ourselves. By the last one we also recognize our own messages when they come back to us.
    "accept-encoding",
    "from",
    "range",
    HOPS_HEADER,
    "user-agent",
    // The state of a browser, which we are not. The second one belongs in answers.
    "cookie",
    "set-cookie",
    // Who called before. Proxies and the servers behind them believe it, and may admit whoever it names (RFC 7239).
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-true-client-ip",
    // Whom a proxy has admitted, as it tells the server behind it.
    "remote-user",
    "x-remote-user",
    // Another path or method than the request line's, which bypasses a check of the request line.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-rewrite-url",
    // Delivery and tracing networks find loops and follow requests by these (RFC 8586, W3C Trace Context).
    "b3",
    "baggage",
    "cdn-loop",
    "traceparent",
    "tracestate",
];

/// Reserved prefixes of names, grouped by the reason.
const RESERVED_PREFIXES: &[&str] = &[
    // The body is ours.
    "content-",
    // Headers for the next proxy, and headers that only browsers send (RFC 9110, section 11.7; Fetch, "Forbidden
    // request-header").
    "access-control-",
    "proxy-",
    "sec-",
    // Our headers, and those of SonarQube that we set.
    "webhook-",
    "x-sonar",
    "x-webhook-",
    // What proxies and clouds add, and the servers behind them believe.
    "cf-",
    "cloudfront-",
    "ssl-client-",
    "x-akamai-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-azure-",
    "x-b3-",
    "x-cloud-trace-",
    "x-envoy-",
    "x-forward",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-",
    "x-nf-",
    "x-original-",
    "x-ssl-client-",
    "x-vercel-",
    "x-webauth-",
];

/// Whether a request is a message of a webhook of ours. It is recognized even if the webhook's own headers or a proxy have
/// changed a part of it.
pub fn is_ours(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    headers.contains_key(WEBHOOK_ID)
        || headers.contains_key(WEBHOOK_EVENT)
        || agent.is_some_and(|agent| agent.starts_with(PRODUCT.as_bytes()))
}

/// The names of events for `X-Webhook-Event`: a list (RFC 9110, section 5.6.1), almost always of one name.
pub fn event_names(events: &BTreeSet<Event>) -> String {
    let names: Vec<&str> = events.iter().map(Event::as_str).collect();
    names.join(", ")
}

/// Headers in a form that may be shown: secrets are masked.
pub(crate) fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = if value.is_sensitive() {
                "***".into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            (name.as_str().to_owned(), text.into_owned())
        })
        .collect()
}
