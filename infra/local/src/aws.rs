//! SDK clients of the stand-ins.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use store::calls::CallStore;
use store::deliveries::DeliveryStore;
use store::imports::ImportStore;
use store::reports::ReportStore;
use store::sources::SourceStore;
use store::tokens::TokenStore;
use store::webhooks::WebhookStore;

use crate::policy::Enforced;
use crate::stand_ins::Endpoints;
use crate::{
    ACCESS_KEY, CALLS_TABLE, DELIVERIES_TABLE, IMPORTS_TABLE, REGION, REPORTS_TABLE, SECRET_KEY,
    SOURCES_TABLE, TOKENS_TABLE, WEBHOOKS_TABLE,
};

/// What somebody calls the stand-ins with.
#[derive(Clone, Debug)]
pub struct Clients {
    /// A client of the stand-in for DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// From which clients of the stand-in for S3 are made.
    pub s3: aws_sdk_s3::config::Builder,
    /// A client of the stand-in for SQS.
    pub sqs: aws_sdk_sqs::Client,
}

/// The tables, as somebody may use them.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Of reports.
    pub reports: ReportStore,
    /// Of tokens.
    pub tokens: TokenStore,
    /// Of webhooks.
    pub webhooks: WebhookStore,
    /// Of deliveries.
    pub deliveries: DeliveryStore,
    /// Of sources.
    pub sources: SourceStore,
    /// Of what sources were told.
    pub calls: CallStore,
    /// Of how imports of theirs stand.
    pub imports: ImportStore,
}

impl Clients {
    /// Those of somebody who may do anything.
    pub(crate) fn unrestricted(sdk: &SdkConfig, endpoints: &Endpoints) -> Self {
        Self::new(sdk, endpoints, None)
    }

    /// Those of a function with this policy.
    pub(crate) fn under(policy: &Enforced, sdk: &SdkConfig, endpoints: &Endpoints) -> Self {
        Self::new(sdk, endpoints, Some(policy))
    }

    /// The tables, as these clients may use them.
    pub fn tables(&self) -> Tables {
        let dynamodb = &self.dynamodb;
        Tables {
            reports: ReportStore::new(dynamodb.clone(), REPORTS_TABLE),
            tokens: TokenStore::new(dynamodb.clone(), TOKENS_TABLE),
            webhooks: WebhookStore::new(dynamodb.clone(), WEBHOOKS_TABLE),
            deliveries: DeliveryStore::new(dynamodb.clone(), DELIVERIES_TABLE),
            sources: SourceStore::new(dynamodb.clone(), SOURCES_TABLE),
            calls: CallStore::new(dynamodb.clone(), CALLS_TABLE),
            imports: ImportStore::new(dynamodb.clone(), IMPORTS_TABLE),
        }
    }

    fn new(sdk: &SdkConfig, endpoints: &Endpoints, policy: Option<&Enforced>) -> Self {
        let mut dynamodb = dynamodb_config(sdk, &endpoints.dynamodb);
        let mut s3 = aws_sdk_s3::config::Builder::from(sdk)
            .endpoint_url(&endpoints.s3)
            .force_path_style(true);
        let mut sqs = aws_sdk_sqs::config::Builder::from(sdk).endpoint_url(&endpoints.sqs);
        if let Some(policy) = policy {
            dynamodb = dynamodb.interceptor(policy.clone());
            s3 = s3.interceptor(policy.clone());
            sqs = sqs.interceptor(policy.clone());
        }
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            s3,
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }
}

pub(crate) fn dynamodb_config(sdk: &SdkConfig, url: &str) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::config::Builder::from(sdk).endpoint_url(url)
}

pub(crate) fn sdk_config() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            ACCESS_KEY, SECRET_KEY, None, None, "local",
        )))
        // Everything is on loopback: nothing loads certificates.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}
