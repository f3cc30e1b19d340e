//! What the operations that functions call need, after AWS's Service Authorization Reference.

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemInput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemInput;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadInput;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadInput;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadInput;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsInput;
use aws_sdk_s3::operation::get_object::GetObjectInput;
use aws_sdk_s3::operation::head_object::HeadObjectInput;
use aws_sdk_s3::operation::put_object::PutObjectInput;
use aws_sdk_s3::operation::put_object_tagging::PutObjectTaggingInput;
use aws_sdk_s3::operation::upload_part::UploadPartInput;
use aws_sdk_s3::types::ObjectIdentifier;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchInput;
use aws_smithy_runtime_api::client::interceptors::context::Input;

use super::attributes::{self, Attributes};

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) action: &'static str,
    /// As it is called here: a table or `table/index/name`, `bucket/key`, a queue.
    pub(super) resource: String,
    /// The attributes that it names, of what writes to DynamoDB.
    pub(super) attributes: Attributes,
}

/// Everything that a call needs; `None` for an operation that is not known here.
pub(super) fn needs(input: &Input) -> Option<Vec<Need>> {
    of_dynamodb(input)
        .or_else(|| of_s3(input))
        .or_else(|| of_sqs(input))
}

fn of_dynamodb(input: &Input) -> Option<Vec<Need>> {
    let one = |action, table: Option<&str>| Some(vec![need(action, table.unwrap_or_default())]);
    let write = |action, table: Option<&str>, attributes| {
        Some(vec![writing_to(
            action,
            table.unwrap_or_default(),
            attributes,
        )])
    };
    if let Some(get) = input.downcast_ref::<GetItemInput>() {
        one("dynamodb:GetItem", get.table_name())
    } else if let Some(put) = input.downcast_ref::<PutItemInput>() {
        let attributes = attributes::of_put_item(put);
        write("dynamodb:PutItem", put.table_name(), attributes)
    } else if let Some(update) = input.downcast_ref::<UpdateItemInput>() {
        let attributes = attributes::of_update_item(update);
        write("dynamodb:UpdateItem", update.table_name(), attributes)
    } else if let Some(delete) = input.downcast_ref::<DeleteItemInput>() {
        let attributes = attributes::of_delete_item(delete);
        write("dynamodb:DeleteItem", delete.table_name(), attributes)
    } else if let Some(query) = input.downcast_ref::<QueryInput>() {
        let table = query.table_name().unwrap_or_default();
        // A policy for the table alone does not allow its indexes, nor the other way round.
        let resource = match query.index_name() {
            None => table.to_owned(),
            Some(index) => format!("{table}/index/{index}"),
        };
        Some(vec![need("dynamodb:Query", resource)])
    } else if let Some(get) = input.downcast_ref::<BatchGetItemInput>() {
        let tables = get.request_items().into_iter().flat_map(|it| it.keys());
        let needs = tables.map(|table| need("dynamodb:BatchGetItem", table));
        Some(needs.collect())
    } else if let Some(transaction) = input.downcast_ref::<TransactWriteItemsInput>() {
        let parts = transaction.transact_items().iter();
        Some(parts.flat_map(of_part).collect())
    } else {
        None
    }
}

/// A transaction needs the actions of its parts.
fn of_part(part: &TransactWriteItem) -> Vec<Need> {
    let put = part
        .put()
        .map(|it| writing_to("dynamodb:PutItem", it.table_name(), attributes::of_put(it)));
    let update = part.update().map(|it| {
        writing_to(
            "dynamodb:UpdateItem",
            it.table_name(),
            attributes::of_update(it),
        )
    });
    let delete = part.delete().map(|it| {
        writing_to(
            "dynamodb:DeleteItem",
            it.table_name(),
            attributes::of_delete(it),
        )
    });
    let check = part.condition_check().map(|it| {
        writing_to(
            "dynamodb:ConditionCheckItem",
            it.table_name(),
            attributes::of_check(it),
        )
    });
    [put, update, delete, check].into_iter().flatten().collect()
}

fn of_s3(input: &Input) -> Option<Vec<Need>> {
    let one = |action, bucket, key| Some(vec![object(action, bucket, key)]);
    if let Some(get) = input.downcast_ref::<GetObjectInput>() {
        one(reading(get.version_id()), get.bucket(), get.key())
    } else if let Some(head) = input.downcast_ref::<HeadObjectInput>() {
        one(reading(head.version_id()), head.bucket(), head.key())
    } else if let Some(put) = input.downcast_ref::<PutObjectInput>() {
        Some(putting(put.bucket(), put.key(), put.tagging()))
    } else if let Some(create) = input.downcast_ref::<CreateMultipartUploadInput>() {
        Some(putting(create.bucket(), create.key(), create.tagging()))
    } else if let Some(part) = input.downcast_ref::<UploadPartInput>() {
        one("s3:PutObject", part.bucket(), part.key())
    } else if let Some(complete) = input.downcast_ref::<CompleteMultipartUploadInput>() {
        one("s3:PutObject", complete.bucket(), complete.key())
    } else if let Some(abort) = input.downcast_ref::<AbortMultipartUploadInput>() {
        one("s3:AbortMultipartUpload", abort.bucket(), abort.key())
    } else if let Some(delete) = input.downcast_ref::<DeleteObjectsInput>() {
        let of = |it: &ObjectIdentifier| {
            let action = match it.version_id() {
                None => "s3:DeleteObject",
                Some(_) => "s3:DeleteObjectVersion",
            };
            object(action, delete.bucket(), Some(it.key()))
        };
        let objects = delete.delete().map(|it| it.objects()).unwrap_or_default();
        Some(objects.iter().map(of).collect())
    } else if let Some(tags) = input.downcast_ref::<PutObjectTaggingInput>() {
        let action = match tags.version_id() {
            None => "s3:PutObjectTagging",
            Some(_) => "s3:PutObjectVersionTagging",
        };
        one(action, tags.bucket(), tags.key())
    } else {
        None
    }
}

fn reading(version: Option<&str>) -> &'static str {
    match version {
        None => "s3:GetObject",
        Some(_) => "s3:GetObjectVersion",
    }
}

fn putting(bucket: Option<&str>, key: Option<&str>, tags: Option<&str>) -> Vec<Need> {
    let put = object("s3:PutObject", bucket, key);
    let tag = tags.map(|_| object("s3:PutObjectTagging", bucket, key));
    std::iter::once(put).chain(tag).collect()
}

fn of_sqs(input: &Input) -> Option<Vec<Need>> {
    let send = input.downcast_ref::<SendMessageBatchInput>()?;
    let url = send.queue_url().unwrap_or_default();
    let queue = url.rsplit('/').next().unwrap_or_default();
    // There is no action for a batch.
    Some(vec![need("sqs:SendMessage", queue)])
}

fn need(action: &'static str, resource: impl Into<String>) -> Need {
    Need {
        action,
        resource: resource.into(),
        attributes: None,
    }
}

fn writing_to(action: &'static str, table: &str, attributes: Attributes) -> Need {
    Need {
        attributes,
        ..need(action, table)
    }
}

fn object(action: &'static str, bucket: Option<&str>, key: Option<&str>) -> Need {
    let (bucket, key) = (bucket.unwrap_or_default(), key.unwrap_or_default());
    need(action, format!("{bucket}/{key}"))
}

#[cfg(test)]
mod tests;
