//! What is common to the AWS services.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

/// An item of DynamoDB, or the key of one.
pub type Item = HashMap<String, AttributeValue>;

/// What became of a change that was made on a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Yes,
    /// Somebody else was faster, or the thing is gone.
    No,
}

/// The most keys of one `BatchGetItem` (DynamoDB API reference).
const MAX_BATCH_GET: usize = 100;
/// The pause before keys are asked for that DynamoDB left; it doubles each time, as the API reference wants it.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// After a pause of this length it is given up.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// An error of the SDK with its causes: by itself it says only "service error".
pub fn describe<E: std::error::Error + Send + Sync + 'static>(error: E) -> anyhow::Error {
    anyhow::anyhow!("{}", DisplayErrorContext(error))
}

/// A string as DynamoDB has it.
pub fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// Those of the items that exist, as they are now, in no particular order. The keys must differ from each other.
pub async fn batch_get(
    client: &Client,
    table: &str,
    keys: impl IntoIterator<Item = Item>,
) -> anyhow::Result<Vec<Item>> {
    let keys: Vec<Item> = keys.into_iter().collect();
    let mut items = Vec::with_capacity(keys.len());
    for keys in keys.chunks(MAX_BATCH_GET) {
        let keys = KeysAndAttributes::builder()
            .set_keys(Some(keys.to_vec()))
            .consistent_read(true)
            .build()?;
        let mut request = Some(HashMap::from([(table.to_owned(), keys)]));
        let mut pause = FIRST_PAUSE;
        // DynamoDB returns at most 16 MB at a time, less when it is throttled, and names the keys that are left.
        while let Some(keys) = request.take().filter(|keys| !keys.is_empty()) {
            let output = client
                .batch_get_item()
                .set_request_items(Some(keys))
                .send()
                .await
                .map_err(describe)?;
            items.extend(output.responses.unwrap_or_default().into_values().flatten());
            request = output.unprocessed_keys;
            if request.as_ref().is_some_and(|keys| !keys.is_empty()) {
                anyhow::ensure!(
                    pause <= LONGEST_PAUSE,
                    "DynamoDB keeps leaving keys unprocessed"
                );
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    Ok(items)
}
