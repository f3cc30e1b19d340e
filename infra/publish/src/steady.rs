//! Publishing in spite of an API that is busy or a connection that breaks.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::client::{File, Publisher};

/// How often a step is tried in all, and the pause before the second time, which doubles.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// In all.
    pub tries: u32,
    /// Before the second one.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            tries: 4,
            pause: Duration::from_secs(1),
        }
    }
}

/// Publishes a report. Each step can be repeated: the first one by its key, an upload since the same bytes go to the same place,
/// and the last one gives the same answer again.
///
/// # Errors
/// The API refuses it, with its reason; or it does not answer in spite of some tries.
pub async fn publish(
    publisher: &Publisher,
    metadata: &Value,
    files: &[File],
    retries: Retries,
) -> anyhow::Result<Value> {
    let key = Uuid::new_v4().to_string();
    let begun = steadily(retries, async || {
        publisher.begin_once(metadata, files, &key).await
    });
    let upload = json(begun.await.context("declare the report")?).await?;
    let targets = upload["files"]
        .as_array()
        .context("the API's answer has no files")?;
    for (target, file) in targets.iter().zip(files) {
        let put = steadily(retries, async || {
            publisher.put(target, file.bytes.clone()).await
        });
        put.await.with_context(|| format!("upload {}", file.name))?;
    }
    let id = upload["uploadId"]
        .as_str()
        .context("the API's answer has no uploadId")?;
    let completed = steadily(retries, async || publisher.complete(id).await);
    json(completed.await.context("complete the upload")?).await
}

async fn json(response: Response) -> anyhow::Result<Value> {
    response
        .json()
        .await
        .context("the API's answer is no JSON; is its address right?")
}

/// Tries until there is a success, a refusal, or no try left.
async fn steadily(
    retries: Retries,
    step: impl AsyncFn() -> anyhow::Result<Response>,
) -> anyhow::Result<Response> {
    let mut pause = retries.pause;
    for left in (0..retries.tries).rev() {
        match step().await {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) => {
                let status = response.status();
                let text = response.text().await.unwrap_or_default();
                let may_help = status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    )
                    || (status == StatusCode::CONFLICT && text.contains("idempotency_key_in_use"));
                anyhow::ensure!(
                    may_help && left > 0,
                    "the API answered {status}: {}",
                    reason(&text)
                );
            }
            Err(error) if left == 0 => return Err(error),
            Err(error) => tracing::info!("asking the API again: {error:#}"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    anyhow::bail!("there are no tries")
}

/// What the API says of a refusal; of others, what they say at the beginning.
fn reason(text: &str) -> String {
    let envelope: Option<Value> = serde_json::from_str(text).ok();
    let message = envelope.as_ref().and_then(|it| it["message"].as_str());
    let shown: String = message.unwrap_or(text).chars().take(500).collect();
    shown.replace(|it: char| it.is_control(), " ")
}
