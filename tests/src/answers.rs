//! The answers to a table of requests, as they are compared with a snapshot.

use std::fmt;

use serde_json::Value;

use crate::api::Reply;

/// Answers, one a line behind the name of its row: so a line of a snapshot that differs says which row it is.
#[derive(Debug, Default)]
pub struct Answers(Vec<String>);

impl Answers {
    /// Adds what a row was answered.
    pub fn add(&mut self, row: &str, reply: &Reply) {
        self.0.push(format!("{row}: {}", said(reply)));
    }
}

/// What an answer says: the status and the whole body but for `requestId`, which is another one each time.
pub fn said(reply: &Reply) -> String {
    let body = match serde_json::from_slice::<Value>(&reply.body) {
        Ok(mut body) => {
            if let Some(envelope) = body.as_object_mut() {
                envelope.shift_remove("requestId");
            }
            body.to_string()
        }
        Err(_) => String::from_utf8_lossy(&reply.body).into_owned(),
    };
    format!("{} {body}", reply.status.as_u16())
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
