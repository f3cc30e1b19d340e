use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Document, Grant, Need, Policy};

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
            attributes: None,
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
        attributes: None,
    };
    policy.check(&[need("A"), need("A")]).unwrap();
    let refused = policy.check(&[need("A"), need("B")]).unwrap_err();
    assert!(refused.contains("Function does not allow dynamodb:PutItem on B"));
}

/// A statement that allows this under a condition.
fn allow_if(action: &str, operator: &str, key: &str, values: Value) -> Value {
    let mut statement = allow(action, "A.Arn");
    statement["Condition"] = json!({operator: {key: values}});
    statement
}

/// What is allowed, and of that what was used.
fn shown(policy: &Policy) -> (Vec<String>, Vec<String>) {
    let permissions = policy.grants.iter().flat_map(Grant::permissions);
    let (mut allowed, mut used) = (Vec::new(), Vec::new());
    for (permission, is_used) in permissions {
        allowed.push(permission.to_string());
        if is_used.load(Ordering::Relaxed) {
            used.push(permission.to_string());
        }
    }
    (allowed, used)
}

#[test]
fn a_write_names_only_attributes_that_its_condition_has() {
    let condition = json!(["id", "a", "b"]);
    let (operator, key) = ("ForAllValues:StringEquals", "dynamodb:Attributes");
    let policy = policy(allow_if("dynamodb:UpdateItem", operator, key, condition)).unwrap();
    let check = |attributes: Option<&[&str]>| {
        let named = attributes.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        policy.check(&[Need {
            action: "dynamodb:UpdateItem",
            resource: "A".to_owned(),
            attributes: named,
        }])
    };
    check(Some(&["id", "c", "a", "d"])).unwrap_err();
    assert!(shown(&policy).1.is_empty(), "what is refused uses nothing");
    check(Some(&["id", "a"])).unwrap();
    let refused = check(Some(&["id", "c", "a", "d"])).unwrap_err();
    assert!(
        refused.contains("does not allow dynamodb:UpdateItem of c, d on A"),
        "{refused}"
    );
    let refused = check(None).unwrap_err();
    assert!(refused.contains("of any attribute on A"), "{refused}");
    assert_eq!(
        shown(&policy),
        (
            vec![
                "Function: dynamodb:UpdateItem on A, attribute a".to_owned(),
                "Function: dynamodb:UpdateItem on A, attribute b".to_owned(),
                "Function: dynamodb:UpdateItem on A, attribute id".to_owned(),
            ],
            vec![
                "Function: dynamodb:UpdateItem on A, attribute a".to_owned(),
                "Function: dynamodb:UpdateItem on A, attribute id".to_owned(),
            ]
        )
    );
}

#[test]
fn a_condition_that_only_aws_can_look_at_is_taken_to_hold() {
    let statement = allow_if(
        "kms:Decrypt",
        "StringEquals",
        "kms:ViaService",
        json!("dynamodb"),
    );
    let (allowed, _) = shown(&policy(statement).unwrap());
    assert_eq!(allowed, ["Function: kms:Decrypt on A"]);
}

#[test]
fn a_condition_that_is_not_understood_is_an_error() {
    let attributes = "dynamodb:Attributes";
    let cases = [
        (
            "dynamodb:UpdateItem",
            "StringEquals",
            attributes,
            "StringEquals dynamodb:Attributes",
        ),
        (
            "dynamodb:UpdateItem",
            "ForAnyValue:StringEquals",
            attributes,
            "ForAnyValue",
        ),
        (
            "dynamodb:UpdateItem",
            "ForAllValues:StringLike",
            attributes,
            "StringLike",
        ),
        (
            "dynamodb:UpdateItem",
            "ForAllValues:StringEquals",
            "dynamodb:LeadingKeys",
            "LeadingKeys",
        ),
        (
            "dynamodb:UpdateItem",
            "StringEquals",
            "kms:ViaService",
            "kms:ViaService",
        ),
        (
            "kms:Decrypt",
            "StringEquals",
            "aws:SourceAccount",
            "aws:SourceAccount",
        ),
        // Whoever reads whole items names no attribute.
        (
            "dynamodb:GetItem",
            "ForAllValues:StringEquals",
            attributes,
            "restricts no dynamodb:GetItem",
        ),
    ];
    for (action, operator, key, expected) in cases {
        let statement = allow_if(action, operator, key, json!(["a"]));
        let error = format!("{:#}", policy(statement.clone()).unwrap_err());
        assert!(error.contains(expected), "{statement}: {error}");
    }
    let statement = allow_if(
        "kms:Decrypt",
        "StringEquals",
        "kms:ViaService",
        json!({"Fn::If": []}),
    );
    assert!(policy(statement).is_err());
}

#[test]
fn lists_are_read() {
    let policy = policy(json!({
        "Sid": "Both",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": ["${A.Arn}/a/*", "${A.Arn}/b/*"],
    }));
    assert_eq!(
        shown(&policy.unwrap()).0,
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
