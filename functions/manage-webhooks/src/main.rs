//! The Lambda function `manage-webhooks`.

use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run};
use manage_webhooks::Managing;
use outbound::sender::{Sender, SenderOptions};
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::api;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let plain_http = environment.switch("ALLOW_PLAIN_HTTP")?;
    let sender = Sender::new(SenderOptions::public(plain_http))?;
    let managing = Managing::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_s3::Client::new(&config::for_objects(&aws)),
        aws_sdk_sqs::Client::new(&aws),
        sender,
    )?;
    let service = api::service(manage_webhooks::router(managing));
    run(ServiceExt::<Request>::map_response(
        service,
        api::without_needless_length,
    ))
    .await
}
