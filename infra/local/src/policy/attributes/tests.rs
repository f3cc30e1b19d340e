use super::*;

fn item(names: &[&str]) -> Item {
    let value = AttributeValue::Bool(true);
    let named = names.iter().map(|it| ((*it).to_owned(), value.clone()));
    named.collect()
}

fn all(names: &[&str]) -> Attributes {
    Some(names.iter().map(|it| (*it).to_owned()).collect())
}

#[test]
fn every_first_name_of_an_expression_counts() {
    let placeholders = Placeholders::from([
        ("#s".to_owned(), "state".to_owned()),
        ("#dotted_1".to_owned(), "a.b".to_owned()),
    ]);
    let cases: [(&str, &[&str]); 12] = [
        ("SET lastUsedAt = :now", &["lastUsedAt"]),
        ("set a=:a,b = b+:b  remove c,d", &["a", "b", "c", "d"]),
        ("ADD numbers :n DELETE texts :t", &["numbers", "texts"]),
        ("SET a = if_not_exists(b, :c)", &["a", "b"]),
        ("SET a = list_append (b, c)", &["a", "b", "c"]),
        ("SET #s = :s REMOVE #dotted_1", &["a.b", "state"]),
        // What lies within an attribute belongs to it.
        ("SET a.b[0].c = d [1] . #s", &["a", "d"]),
        ("REMOVE #s.a[2]", &["state"]),
        (
            "attribute_exists(a) AND (NOT b = :b OR attribute_not_exists(c))",
            &["a", "b", "c"],
        ),
        ("a between :x and b and c in (:x, d)", &["a", "b", "c", "d"]),
        ("size(a) >= :n AND contains(b, _c)", &["_c", "a", "b"]),
        ("begins_with(a,:x) or a<>:y", &["a"]),
    ];
    for (expression, expected) in cases {
        let found = names_in(expression, Some(&placeholders));
        assert_eq!(found, all(expected), "{expression}");
    }
}

#[test]
fn a_placeholder_that_stands_for_nothing_may_stand_for_any() {
    assert_eq!(names_in("SET #a = :a", None), None);
    assert_eq!(names_in("SET #a = :a", Some(&Placeholders::new())), None);
}

#[test]
fn keys_items_and_both_expressions_count() {
    let put = PutItemInput::builder().set_item(Some(item(&["id", "a"])));
    let put = put.condition_expression("attribute_not_exists(b)");
    assert_eq!(of_put_item(&put.build().unwrap()), all(&["a", "b", "id"]));

    let update = UpdateItemInput::builder().set_key(Some(item(&["id"])));
    let update = update
        .update_expression("SET #a = :a")
        .condition_expression("b = :b")
        .expression_attribute_names("#a", "a");
    assert_eq!(
        of_update_item(&update.build().unwrap()),
        all(&["a", "b", "id"])
    );

    let delete = DeleteItemInput::builder().set_key(Some(item(&["id"])));
    let delete = delete.condition_expression("a = :a");
    assert_eq!(of_delete_item(&delete.build().unwrap()), all(&["a", "id"]));
}

#[test]
fn parts_of_a_transaction_name_what_the_same_write_does_alone() {
    let put = Put::builder()
        .table_name("T")
        .set_item(Some(item(&["id", "a"])))
        .condition_expression("b = :b");
    assert_eq!(of_put(&put.build().unwrap()), all(&["a", "b", "id"]));
    let update = Update::builder()
        .table_name("T")
        .set_key(Some(item(&["id"])))
        .update_expression("REMOVE #a")
        .condition_expression("b = :b")
        .expression_attribute_names("#a", "a");
    assert_eq!(of_update(&update.build().unwrap()), all(&["a", "b", "id"]));
    let delete = Delete::builder()
        .table_name("T")
        .set_key(Some(item(&["id"])))
        .condition_expression("a = :a");
    assert_eq!(of_delete(&delete.build().unwrap()), all(&["a", "id"]));
    let check = ConditionCheck::builder()
        .table_name("T")
        .set_key(Some(item(&["id"])))
        .condition_expression("a = :a");
    assert_eq!(of_check(&check.build().unwrap()), all(&["a", "id"]));
}

#[test]
fn a_write_that_returns_whole_items_names_every_attribute() {
    let update = UpdateItemInput::builder().set_key(Some(item(&["id"])));
    let returning = |it: ReturnValue| update.clone().return_values(it).build().unwrap();
    assert_eq!(of_update_item(&returning(ReturnValue::AllNew)), None);
    assert_eq!(of_update_item(&returning(ReturnValue::AllOld)), None);
    let updated = of_update_item(&returning(ReturnValue::UpdatedNew));
    assert_eq!(updated, all(&["id"]));
    let failing = update
        .clone()
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    assert_eq!(of_update_item(&failing.build().unwrap()), None);
    let old = update.set_attribute_updates(Some([].into()));
    assert_eq!(of_update_item(&old.build().unwrap()), None);
}
