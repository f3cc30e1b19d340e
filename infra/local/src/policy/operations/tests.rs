use std::collections::HashMap;

use aws_sdk_dynamodb::operation::list_tables::ListTablesInput;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, Update,
};
use aws_sdk_s3::types::Delete as DeletedObjects;

use super::*;

/// Makes the input of an operation for an object.
macro_rules! of_object {
    ($Input:ident $(, $field:ident)?) => {
        Input::erase($Input::builder().bucket("b").key("k")$(.$field("1"))?.build().unwrap())
    };
}

fn item(name: &str) -> HashMap<String, AttributeValue> {
    [(name.to_owned(), AttributeValue::Bool(true))].into()
}

/// What a write of these attributes needs.
fn need_of(action: &'static str, table: &str, attributes: &[&str]) -> Need {
    let attributes = attributes.iter().map(|it| (*it).to_owned()).collect();
    writing_to(action, table, Some(attributes))
}

#[test]
fn an_operation_on_one_item_needs_its_action_on_the_table() {
    let get = GetItemInput::builder().table_name("T");
    let put = PutItemInput::builder()
        .table_name("T")
        .item("a", AttributeValue::Bool(true));
    let update = UpdateItemInput::builder()
        .table_name("T")
        .set_key(Some(item("b")));
    let delete = DeleteItemInput::builder()
        .table_name("T")
        .set_key(Some(item("c")));
    let cases = [
        (
            Input::erase(get.build().unwrap()),
            need("dynamodb:GetItem", "T"),
        ),
        (
            Input::erase(put.build().unwrap()),
            need_of("dynamodb:PutItem", "T", &["a"]),
        ),
        (
            Input::erase(update.build().unwrap()),
            need_of("dynamodb:UpdateItem", "T", &["b"]),
        ),
        (
            Input::erase(delete.build().unwrap()),
            need_of("dynamodb:DeleteItem", "T", &["c"]),
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(needs(&input), Some(vec![expected]));
    }
}

#[test]
fn a_query_needs_the_index_or_the_table() {
    let query = QueryInput::builder().table_name("T");
    let cases = [(query.clone(), "T"), (query.index_name("a"), "T/index/a")];
    for (query, resource) in cases {
        let needed = needs(&Input::erase(query.build().unwrap()));
        assert_eq!(needed, Some(vec![need("dynamodb:Query", resource)]));
    }
}

#[test]
fn a_batch_needs_each_of_its_tables() {
    let keys = || KeysAndAttributes::builder().set_keys(Some(vec![])).build();
    let batch = BatchGetItemInput::builder()
        .request_items("A", keys().unwrap())
        .request_items("B", keys().unwrap());
    let mut needed = needs(&Input::erase(batch.build().unwrap())).unwrap();
    needed.sort_by(|one, other| one.resource.cmp(&other.resource));
    let action = "dynamodb:BatchGetItem";
    assert_eq!(needed, [need(action, "A"), need(action, "B")]);
}

#[test]
fn a_transaction_needs_the_actions_of_its_parts() {
    let part = TransactWriteItem::builder;
    let (put, update) = (Put::builder(), Update::builder());
    let (delete, check) = (Delete::builder(), ConditionCheck::builder());
    let put = put.table_name("A").set_item(Some(item("id")));
    let update = update.table_name("B").set_key(Some(item("id")));
    let update = update.update_expression("SET a = b");
    let delete = delete.table_name("C").set_key(Some(item("id")));
    let check = check.table_name("D").set_key(Some(item("id")));
    let check = check.condition_expression("a = c");
    let transaction = TransactWriteItemsInput::builder()
        .transact_items(part().put(put.build().unwrap()).build())
        .transact_items(part().update(update.build().unwrap()).build())
        .transact_items(part().delete(delete.build().unwrap()).build())
        .transact_items(part().condition_check(check.build().unwrap()).build());
    assert_eq!(
        needs(&Input::erase(transaction.build().unwrap())),
        Some(vec![
            need_of("dynamodb:PutItem", "A", &["id"]),
            need_of("dynamodb:UpdateItem", "B", &["a", "b", "id"]),
            need_of("dynamodb:DeleteItem", "C", &["id"]),
            need_of("dynamodb:ConditionCheckItem", "D", &["a", "c", "id"]),
        ])
    );
}

#[test]
fn an_operation_on_an_object_needs_what_s3_wants_for_it() {
    let cases = [
        (of_object!(GetObjectInput), vec!["s3:GetObject"]),
        (
            of_object!(GetObjectInput, version_id),
            vec!["s3:GetObjectVersion"],
        ),
        (of_object!(HeadObjectInput), vec!["s3:GetObject"]),
        (
            of_object!(HeadObjectInput, version_id),
            vec!["s3:GetObjectVersion"],
        ),
        (of_object!(PutObjectInput), vec!["s3:PutObject"]),
        (
            of_object!(PutObjectInput, tagging),
            vec!["s3:PutObject", "s3:PutObjectTagging"],
        ),
        (of_object!(CreateMultipartUploadInput), vec!["s3:PutObject"]),
        (
            of_object!(CreateMultipartUploadInput, tagging),
            vec!["s3:PutObject", "s3:PutObjectTagging"],
        ),
        (of_object!(UploadPartInput), vec!["s3:PutObject"]),
        (
            of_object!(CompleteMultipartUploadInput),
            vec!["s3:PutObject"],
        ),
        (
            of_object!(AbortMultipartUploadInput),
            vec!["s3:AbortMultipartUpload"],
        ),
        (
            of_object!(PutObjectTaggingInput),
            vec!["s3:PutObjectTagging"],
        ),
        (
            of_object!(PutObjectTaggingInput, version_id),
            vec!["s3:PutObjectVersionTagging"],
        ),
    ];
    for (input, actions) in cases {
        let expected: Vec<Need> = actions.into_iter().map(|it| need(it, "b/k")).collect();
        assert_eq!(needs(&input), Some(expected));
    }
}

#[test]
fn each_object_that_is_deleted_needs_its_action() {
    let object = |key: &str| ObjectIdentifier::builder().key(key);
    let objects = DeletedObjects::builder()
        .objects(object("a").build().unwrap())
        .objects(object("b").version_id("1").build().unwrap());
    let delete = DeleteObjectsInput::builder().bucket("b");
    let delete = delete.delete(objects.build().unwrap()).build().unwrap();
    assert_eq!(
        needs(&Input::erase(delete)),
        Some(vec![
            need("s3:DeleteObject", "b/a"),
            need("s3:DeleteObjectVersion", "b/b"),
        ])
    );
}

#[test]
fn sending_a_batch_needs_the_queue() {
    let url = "http://127.0.0.1:1/000000000000/Queue";
    let send = SendMessageBatchInput::builder().queue_url(url);
    let send = Input::erase(send.build().unwrap());
    assert_eq!(needs(&send), Some(vec![need("sqs:SendMessage", "Queue")]));
}

#[test]
fn an_operation_that_is_not_known_is_not_taken_to_need_nothing() {
    let list = ListTablesInput::builder().build().unwrap();
    assert_eq!(needs(&Input::erase(list)), None);
}
