//! The least that a Lambda function can be. The benchmark `cold_start` compares the functions with it.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let handle = async |_: LambdaEvent<Value>| Ok::<_, Error>("Hello, world!");
    run(service_fn(handle)).await
}
