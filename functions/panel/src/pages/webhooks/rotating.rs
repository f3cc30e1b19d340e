//! The rotation of a webhook's secret.

use axum::extract::Path;
use axum::response::Response;

use super::{WebhookBody, id_of};
use crate::api::Call;
use crate::form::Form;
use crate::pages::secrets::{self, Kind, Of};
use crate::problem::Problem;
use crate::visit::Administrator;

pub(crate) async fn ask(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    secrets::ask(&visit, &of(&visit, &id).await?)
}

pub(crate) async fn replace(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    secrets::replace(&visit, &of(&visit, &id).await?, &form).await
}

async fn of(visit: &Administrator, id: &str) -> Result<Of, Problem> {
    let path = format!("/webhooks/{}", id_of(id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*path)).await?.json()?;
    Ok(Of {
        kind: Kind::Webhook,
        name: webhook.name,
        path,
    })
}
