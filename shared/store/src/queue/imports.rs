//! The queue of sources to visit: reports are to be imported from their servers.

use std::time::Duration;

use aws_sdk_sqs::Client;
use domain::organization::OrganizationId;
use domain::source::SourceId;
use domain::source::call::{CallId, CallKey};
use serde::{Deserialize, Serialize};

use super::work::{Unreadable, tagged, to_json};
use super::{Message, Queue};
use crate::error::Result;

/// The kind of every message, as the message has it.
const KIND: &str = "import";

/// A message on the queue: a source is to be visited.
///
/// It does not say what there is to do, which the tables say. So several messages are as good as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAfter {
    /// The organization of the source.
    pub org: OrganizationId,
    /// The source.
    pub source: SourceId,
    /// The call that the message was sent for. An index may not have it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// Whether to ask the server for analyses that it has not reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sweeps: bool,
    /// Whether the server is known to answer, whatever its stored health.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumes: bool,
}

impl LookAfter {
    /// A visit for whatever is due.
    pub fn source(org: OrganizationId, source: SourceId) -> Self {
        Self {
            org,
            source,
            call: None,
            sweeps: false,
            resumes: false,
        }
    }

    /// A visit for a new call.
    pub fn call(org: OrganizationId, key: CallKey) -> Self {
        Self {
            call: Some(key.id),
            ..Self::source(org, key.source)
        }
    }

    /// A visit that asks the source's server for analyses that it has not reported.
    pub fn sweep(org: OrganizationId, source: SourceId) -> Self {
        Self {
            sweeps: true,
            ..Self::source(org, source)
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Says what is wrong with the message. It ends in the dead-letter queue, where somebody reads it.
    pub fn from_json(json: &str) -> Result<Self, Unreadable> {
        tagged(json, &[KIND])
    }

    /// The message as it is on the queue, with its kind and its version.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Kind<'a> {
            kind: &'static str,
            #[serde(flatten)]
            message: &'a LookAfter,
        }
        to_json(&Kind {
            kind: KIND,
            message: self,
        })
    }
}

/// The queue of sources to visit.
#[derive(Clone, Debug)]
pub struct ImportsQueue(Queue);

impl ImportsQueue {
    /// The queue with this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self(Queue::new(client, url))
    }

    /// Puts messages on the queue.
    ///
    /// The organization is the message group. In a fair queue (SQS, standard queues) that keeps one organization's many
    /// sources and slow servers from delaying those of others.
    ///
    /// # Errors
    /// The queue did not take all of them. It may have taken some.
    pub async fn send(&self, messages: &[LookAfter]) -> Result<()> {
        self.0
            .send(messages.iter().map(|it| message(it, None)))
            .await
    }

    /// Puts a message on the queue, which holds it back for the delay, or for [`super::MAX_DELAY`] if that is shorter.
    ///
    /// # Errors
    /// The queue may have taken the message.
    pub async fn send_later(&self, look: &LookAfter, delay: Duration) -> Result<()> {
        self.0.send([message(look, Some(delay))].into_iter()).await
    }
}

fn message(look: &LookAfter, delay: Option<Duration>) -> Message {
    Message {
        group: look.org.to_string(),
        body: look.to_json(),
        delay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_what_it_is() {
        let org: OrganizationId = "00000000-0000-4000-8000-000000000003".parse().unwrap();
        let source: SourceId = "00000000-0000-4000-8000-000000000004".parse().unwrap();
        let id = "00000000-0000-8000-8000-000000000005".parse().unwrap();
        for (look, json) in [
            (
                LookAfter::source(org, source),
                r#"{"v":1,"kind":"import","org":"00000000-0000-4000-8000-000000000003","source":"00000000-0000-4000-8000-000000000004"}"#,
            ),
            (
                LookAfter::sweep(org, source),
                r#"{"v":1,"kind":"import","org":"00000000-0000-4000-8000-000000000003","source":"00000000-0000-4000-8000-000000000004","sweeps":true}"#,
            ),
            (
                LookAfter::call(org, CallKey { source, id }),
                r#"{"v":1,"kind":"import","org":"00000000-0000-4000-8000-000000000003","source":"00000000-0000-4000-8000-000000000004","call":"00000000-0000-8000-8000-000000000005"}"#,
            ),
        ] {
            assert_eq!(look.to_json(), json);
            assert_eq!(LookAfter::from_json(json).unwrap(), look);
        }
        for (json, said) in [
            ("{}", "does not say what it is"),
            (
                r#"{"kind":"due","v":1}"#,
                "there is no kind 'due'; known are import",
            ),
            (r#"{"kind":"import","v":2}"#, "version 2"),
            (r#"{"kind":"import","v":1}"#, "org"),
        ] {
            let error = LookAfter::from_json(json).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
