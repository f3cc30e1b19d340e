//! The forms that messages to webhooks have.

use serde::{Deserialize, Serialize};

/// The form of a webhook's messages. What they look like is where they are made, in the crate `outbound`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own: up to fifty changes of reports in one message, signed as Standard Webhooks and `SonarQube` sign.
    #[default]
    Reports,
}
