//! What answers look like (`ws-webhooks.proto` in `SonarQube`'s source).

use domain::date::{GivenDate, sonar_date};
use domain::delivery::attempt::AttemptSummary;
use domain::delivery::{Delivery, DeliveryId};
use domain::webhook::{Webhook, WebhookId};
use serde::Serialize;
use store::deliveries::Whole;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookBody {
    key: WebhookId,
    name: String,
    url: String,
    has_secret: bool,
}

impl WebhookBody {
    pub(super) fn of(webhook: &Webhook) -> Self {
        let settings = &webhook.settings;
        Self {
            key: webhook.id,
            name: settings.name.clone(),
            url: settings.url.starred(),
            has_secret: settings.secrets.secret.is_some(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedWebhook {
    #[serde(flatten)]
    pub(super) webhook: WebhookBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latest_delivery: Option<LatestDelivery>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LatestDelivery {
    id: String,
    #[serde(flatten)]
    outcome: Outcome,
}

impl LatestDelivery {
    pub(super) fn of(delivery: &Delivery) -> Option<Self> {
        Some(Self {
            id: id(delivery),
            outcome: Outcome::of(delivery.last_attempt.as_ref()?),
        })
    }
}

/// How the latest attempt went.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    at: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    duration_ms: u64,
}

impl Outcome {
    fn of(attempt: &AttemptSummary) -> Self {
        Self {
            at: date(&attempt.at),
            success: attempt.error.is_none(),
            http_status: attempt.status,
            duration_ms: attempt.duration_ms,
        }
    }
}

/// A time of ours as `SonarQube` writes it.
fn date(text: &str) -> String {
    let date = text
        .parse()
        .map(|date: GivenDate| sonar_date(date.instant()));
    date.unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveriesBody {
    pub(super) paging: PagingBody,
    pub(super) deliveries: Vec<DeliverySummaryBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PagingBody {
    pub(super) page_index: usize,
    pub(super) page_size: usize,
    pub(super) total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliverySummaryBody {
    id: String,
    /// A message of our own format may tell of several projects. Then it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    component_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ce_task_id: Option<String>,
    /// Of the webhook, as it is called now.
    name: String,
    url: String,
    #[serde(flatten)]
    outcome: Outcome,
}

impl DeliverySummaryBody {
    /// What is said of a delivery that has been tried. There it is recorded only then.
    pub(super) fn of(webhook: &Webhook, delivery: &Delivery) -> Option<Self> {
        Some(Self {
            id: id(delivery),
            component_key: delivery.project.clone(),
            ce_task_id: delivery.task.clone(),
            name: webhook.settings.name.clone(),
            url: webhook.settings.url.starred(),
            outcome: Outcome::of(delivery.last_attempt.as_ref()?),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryBody {
    #[serde(flatten)]
    summary: DeliverySummaryBody,
    payload: String,
    /// Why there was no answer. A status says enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_stacktrace: Option<String>,
}

impl DeliveryBody {
    pub(super) fn of(webhook: &Webhook, whole: Whole) -> Option<Self> {
        let summary = DeliverySummaryBody::of(webhook, &whole.delivery)?;
        let latest = whole.attempts.into_iter().next_back();
        let unanswered = latest.filter(|attempt| attempt.status.is_none());
        Some(Self {
            summary,
            payload: whole.message.unwrap_or_default(),
            error_stacktrace: unanswered.and_then(|it| it.error).map(|it| it.message),
        })
    }
}

/// Between the two ids in that of a delivery.
const SEPARATOR: char = '.';

/// The id of a delivery, which by itself is one only together with its webhook's.
fn id(delivery: &Delivery) -> String {
    format!("{}{SEPARATOR}{}", delivery.webhook, delivery.id)
}

/// The two ids in that of a delivery.
pub(super) fn ids(id: &str) -> Option<(WebhookId, DeliveryId)> {
    let (webhook, delivery) = id.split_once(SEPARATOR)?;
    Some((webhook.parse().ok()?, delivery.parse().ok()?))
}

/// A text that is no URL, with a star for each character of what may be a user and a password.
pub(super) fn without_credentials(text: &str) -> String {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let Some(end) = text.rfind('@').filter(|end| *end > begin) else {
        return text.to_owned();
    };
    let stars = |c| if c == ':' { c } else { '*' };
    let hidden: String = text[begin..end].chars().map(stars).collect();
    format!("{}{hidden}{}", &text[..begin], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_url_shows_no_password() {
        for (text, shown) in [
            ("foo", "foo"),
            ("foo@bar", "***@bar"),
            ("ftp://user:pass@host/", "ftp://****:****@host/"),
            ("https://us er:p@ss@host/a", "https://*****:****@host/a"),
            ("https://@host", "https://@host"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
