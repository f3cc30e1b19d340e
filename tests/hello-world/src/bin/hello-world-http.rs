//! The least that a Lambda function behind API Gateway can be. The benchmark `cold_start` compares the functions with it.

use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let handle = async |_: Request| Ok::<_, Error>("Hello, world!");
    run(service_fn(handle)).await
}
