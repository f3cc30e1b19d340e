//! The Lambda function `manage-webhooks`.

use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run, tracing};
use manage_webhooks::Managing;
use manage_webhooks::identity::{IdentityOptions, IdentityProvider};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let managing = Managing {
        webhooks: config::webhook_store(&aws)?,
        deliveries: config::delivery_store(&aws)?,
        tokens: config::token_store(&aws)?,
        identity: IdentityProvider::new(IdentityOptions {
            issuer: config::required("OIDC_ISSUER")?,
            audience: config::required("OIDC_AUDIENCE")?,
            roles_claim: config::required("OIDC_ROLES_CLAIM")?,
        })?,
        queue: config::events_queue(&aws)?,
        sender: config::sender()?,
    };
    let service = api::service(manage_webhooks::router(managing));
    run(ServiceExt::<Request>::map_response(
        service,
        api::without_needless_length,
    ))
    .await
}
