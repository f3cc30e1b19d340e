use serde_json::{Value, json};

use super::{Document, Need, Policy};

fn policy(statement: Value) -> anyhow::Result<Policy> {
    let document = json!({"Version": "2012-10-17", "Statement": [statement]});
    let document: Document = serde_json::from_value(document)?;
    Policy::new("Function", vec![document])
}

/// A statement that allows this.
fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

#[test]
fn a_call_is_allowed_by_its_action_on_its_resource() {
    let cases = [
        // A table, and not what is below it; an index, and not its table.
        ("dynamodb:Query", "Table.Arn", "Table", true),
        ("dynamodb:Query", "Table.Arn", "Table/index/a", false),
        ("dynamodb:Query", "Table.Arn", "Tables", false),
        (
            "dynamodb:Query",
            "${Table.Arn}/index/a",
            "Table/index/a",
            true,
        ),
        (
            "dynamodb:Query",
            "${Table.Arn}/index/a",
            "Table/index/b",
            false,
        ),
        ("dynamodb:Query", "${Table.Arn}/index/a", "Table", false),
        // Buckets have no capital letters here.
        ("s3:GetObject", "${Bucket.Arn}/a/*", "bucket/a/b/c", true),
        ("s3:GetObject", "${Bucket.Arn}/a/*", "bucket/a/", true),
        ("s3:GetObject", "${Bucket.Arn}/a/*", "bucket/ab", false),
        ("s3:GetObject", "${Bucket.Arn}/a/*", "Bucket/a/b", false),
        ("s3:ListBucket", "Bucket.Arn", "bucket", true),
        ("sqs:SendMessage", "Queue.Arn", "Queue", true),
        ("sqs:SendMessage", "Queue.Arn", "OtherQueue", false),
        ("kms:Decrypt", "arn:aws:kms:*:*:key/*", "Table", false),
    ];
    for (action, allowed, resource, is_allowed) in cases {
        let statement = allow(action, allowed);
        let policy = policy(statement.clone()).unwrap();
        let need = |action| Need {
            action,
            resource: resource.to_owned(),
        };
        let checked = policy.check(&[need(action)]);
        assert_eq!(checked.is_ok(), is_allowed, "{statement} {resource}");
        assert!(policy.check(&[need("s3:Other")]).is_err(), "{statement}");
    }
}

#[test]
fn a_call_that_needs_two_permissions_is_refused_without_one() {
    let policy = policy(allow("dynamodb:PutItem", "A.Arn")).unwrap();
    let need = |resource: &str| Need {
        action: "dynamodb:PutItem",
        resource: resource.to_owned(),
    };
    policy.check(&[need("A"), need("A")]).unwrap();
    let refused = policy.check(&[need("A"), need("B")]).unwrap_err();
    assert!(refused.contains("Function does not allow dynamodb:PutItem on B"));
}

#[test]
fn lists_and_conditions_are_read() {
    let policy = policy(json!({
        "Sid": "Both",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": ["${A.Arn}/a/*", "${A.Arn}/b/*"],
        "Condition": {"StringEquals": {"kms:ViaService": "dynamodb"}},
    }));
    let grants = policy.unwrap().grants;
    let shown: Vec<String> = grants.iter().map(|it| it.permission.to_string()).collect();
    assert_eq!(
        shown,
        [
            "Function: s3:GetObject on A/a/*",
            "Function: s3:GetObject on A/b/*",
            "Function: s3:PutObject on A/a/*",
            "Function: s3:PutObject on A/b/*",
        ]
    );
}

#[test]
fn what_is_not_understood_is_an_error_and_allows_nothing() {
    let statement = |key: &str, value: Value| {
        let mut statement = allow("s3:GetObject", "A.Arn");
        statement[key] = value;
        statement
    };
    let cases = [
        (statement("Effect", json!("Deny")), "Deny"),
        (statement("NotAction", json!("s3:GetObject")), "NotAction"),
        (statement("Action", json!("s3:*")), "wildcard"),
        (statement("Action", json!(["s3:Get?bject"])), "wildcard"),
        (
            statement("Action", json!({"Fn::If": []})),
            "a list of texts",
        ),
        (statement("Resource", json!("*")), "resource *"),
        (statement("Resource", json!("A")), "resource A"),
        (statement("Resource", json!("${A}/*")), "resource ${A}/*"),
        (
            statement("Resource", json!("${A.Arn}b")),
            "resource ${A.Arn}b",
        ),
        (statement("Resource", json!("${A.Arn}/*/b")), "/*/b"),
        (statement("Resource", json!("${A.Arn}/${B}")), "/${B}"),
        (
            statement("Resource", json!(["A.Arn", 1])),
            "a list of texts",
        ),
        (statement("Resource", json!(["A.Arn", "${A.Arn}"])), "twice"),
        (
            json!({"Effect": "Allow", "Action": "s3:GetObject"}),
            "Resource",
        ),
    ];
    for (statement, expected) in cases {
        let error = format!("{:#}", policy(statement.clone()).unwrap_err());
        assert!(error.contains(expected), "{statement}: {error}");
    }
}
