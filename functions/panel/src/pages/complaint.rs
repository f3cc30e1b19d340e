//! The faults of a form.

use axum::http::StatusCode;

use crate::api::Refusal;

/// A fault, and the field that has it.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) status: StatusCode,
    /// The field, by its id in the page; empty for none.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Complaint {
    /// A refusal of the API.
    pub(crate) fn of(refusal: Refusal) -> Self {
        let parameter = refusal.parameter.unwrap_or_default();
        let end = parameter.find(['[', '.']).unwrap_or(parameter.len());
        let field = match &parameter[..end] {
            "project" => "projects",
            // People see no such field.
            "Idempotency-Key" => "",
            field => field,
        };
        // The API's message begins with the field's name for programs. In the page it stands beside the field.
        let message = refusal.message;
        let said = message
            .strip_prefix(&parameter)
            .and_then(|rest| rest.strip_prefix(": "))
            .filter(|_| !parameter.is_empty())
            .unwrap_or(&message);
        Self {
            status: refusal.status,
            field: field.to_owned(),
            message: said.to_owned(),
            request_id: refusal.request_id,
        }
    }

    /// Somebody else has changed the resource.
    pub(crate) fn changed() -> Self {
        Self {
            status: StatusCode::PRECONDITION_FAILED,
            field: String::new(),
            message: "Somebody else has changed this meanwhile. Below is what you have typed, and what is stored now; saving again replaces that.".to_owned(),
            request_id: None,
        }
    }

    /// An own secret is chosen, but none is typed.
    pub(crate) fn no_secret() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            field: "secret".to_owned(),
            message: "type your own, or have one generated".to_owned(),
            request_id: None,
        }
    }

    /// The same when one field takes either a token or a secret.
    pub(crate) fn of_secret(mut self) -> Self {
        if self.field == "token" {
            "secret".clone_into(&mut self.field);
        }
        self
    }

    /// Whether the fault is in a field.
    pub(crate) fn is_about(&self, field: &str) -> bool {
        self.field == field
    }
}
