//! What functions use of AWS, as their clients see it.
//!
//! The stand-ins' capacity figures follow AWS's rounding.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItemInput, BatchGetItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsInput, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use local::Clients;

use crate::system::System;

/// What was used of AWS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// How often each operation was called.
    pub calls: BTreeMap<String, u64>,
    /// In DynamoDB's read capacity units.
    pub read_units: f64,
    /// In DynamoDB's write capacity units, those of indexes included.
    pub write_units: f64,
}

/// Counts what its clients use.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Usage>>);

impl Meter {
    /// What was used since the last time.
    pub fn read(&self) -> Usage {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A function's clients, metered.
    pub fn of(&self, system: &System, function: &str) -> Clients {
        let Clients { dynamodb, s3, sqs } = &system.stack.clients[function];
        let dynamodb = dynamodb.config().to_builder().interceptor(self.clone());
        let sqs = sqs.config().to_builder().interceptor(self.clone());
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            s3: s3.clone().interceptor(self.clone()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }
}

/// Asks each of these operations what it consumes.
macro_rules! ask {
    ($input:expr; $($operation:ty),*) => {
        $(if let Some(input) = $input.downcast_mut::<$operation>() {
            input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
        })*
    };
}

/// What one of these operations has consumed.
macro_rules! answer {
    ($output:expr; one $($one:ty),*; many $($many:ty),*) => {{
        let mut consumed: Vec<ConsumedCapacity> = Vec::new();
        $(if let Some(output) = $output.downcast_ref::<$one>() {
            consumed.extend(output.consumed_capacity.clone());
        })*
        $(if let Some(output) = $output.downcast_ref::<$many>() {
            consumed.extend(output.consumed_capacity.clone().unwrap_or_default());
        })*
        consumed
    }};
}

fn ask_for_capacity(input: &mut Input) {
    ask!(
        input;
        GetItemInput,
        BatchGetItemInput,
        QueryInput,
        PutItemInput,
        UpdateItemInput,
        TransactWriteItemsInput
    );
}

fn consumed(output: &Output) -> f64 {
    let consumed = answer!(
        output;
        one GetItemOutput, QueryOutput, PutItemOutput, UpdateItemOutput;
        many BatchGetItemOutput, TransactWriteItemsOutput
    );
    consumed
        .iter()
        .map(|one| one.capacity_units.unwrap_or_default())
        .sum()
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ask_for_capacity(context.input_mut());
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = cfg.load::<Metadata>().unwrap().name();
        let mut usage = self.0.lock().unwrap();
        *usage.calls.entry(operation.to_owned()).or_default() += 1;
        let units = context.output_or_error().map_or(0.0, consumed);
        match operation {
            "GetItem" | "BatchGetItem" | "Query" => usage.read_units += units,
            _ => usage.write_units += units,
        }
        Ok(())
    }
}
