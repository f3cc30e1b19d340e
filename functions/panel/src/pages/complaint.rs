//! What was wrong with a form.

use axum::http::StatusCode;

use crate::api::Refusal;

/// What was wrong, and where.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) status: StatusCode,
    /// The field, by the id that it has in the page; empty for none.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Complaint {
    /// What the API has refused.
    pub(crate) fn of(refusal: Refusal) -> Self {
        let parameter = refusal.parameter.unwrap_or_default();
        let end = parameter.find(['[', '.']).unwrap_or(parameter.len());
        let field = match &parameter[..end] {
            "project" => "projects",
            // That is no field that people see.
            "Idempotency-Key" => "",
            field => field,
        };
        // The message begins with the field's name for programs; here it stands beside the field.
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

    /// Somebody else has changed it.
    pub(crate) fn changed() -> Self {
        Self {
            status: StatusCode::PRECONDITION_FAILED,
            field: String::new(),
            message: "Somebody else has changed this meanwhile. Below is what you have typed, and what is stored now; saving again replaces that.".to_owned(),
            request_id: None,
        }
    }

    /// A secret of one's own was meant, and none is typed.
    pub(crate) fn no_secret() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            field: "secret".to_owned(),
            message: "type your own, or have one generated".to_owned(),
            request_id: None,
        }
    }

    /// The same, where a token and a secret are typed into one field.
    pub(crate) fn of_secret(mut self) -> Self {
        if self.field == "token" {
            "secret".clone_into(&mut self.field);
        }
        self
    }

    /// Whether it is about a field.
    pub(crate) fn is_about(&self, field: &str) -> bool {
        self.field == field
    }
}
