//! Quotas: how much of something an organization may do within a window of time. An item of the window counts it.
//!
//! Each count is one conditional write, so several callers at once cannot get more than the quota. A write that the SDK sends
//! twice counts twice, which errs on the safe side.

use aws_sdk_dynamodb::Client;
use time::OffsetDateTime;

use crate::dynamodb::{Changed, Item, changed, number};
use crate::error::Result;

/// What is counted, how much of it is wanted now, and how much one window allows.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The attribute that counts it.
    pub name: &'static str,
    /// How much is wanted.
    pub amount: u64,
    /// The most in one window.
    pub most: u64,
}

/// Takes what is wanted from the window with this key, all of it or nothing. After `expires_at` the table may delete the
/// window.
///
/// It is `Lost` when one quota has less left than is wanted.
pub async fn take(
    client: &Client,
    table: &str,
    window: Item,
    wanted: &[Wanted],
    expires_at: OffsetDateTime,
) -> Result<Changed> {
    let mut conditions = Vec::new();
    let mut additions = Vec::new();
    let mut update = client
        .update_item()
        .table_name(table)
        .set_key(Some(window))
        .expression_attribute_values(":end", number(expires_at.unix_timestamp()));
    for Wanted { name, amount, most } in wanted {
        let Some(before) = most.checked_sub(*amount) else {
            return Ok(Changed::Lost);
        };
        conditions.push(format!(
            "(attribute_not_exists({name}) OR {name} <= :{name}Before)"
        ));
        additions.push(format!("{name} :{name}"));
        update = update
            .expression_attribute_values(format!(":{name}"), number(amount))
            .expression_attribute_values(format!(":{name}Before"), number(before));
    }
    let update = update
        .update_expression(format!("SET expiresAt = :end ADD {}", additions.join(", ")))
        .condition_expression(conditions.join(" AND "));
    changed(update).await
}
