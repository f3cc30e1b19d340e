//! The attributes of items that a write of DynamoDB names: what AWS compares with `dynamodb:Attributes` of a policy.
//!
//! After the guide to fine-grained access control these are the attributes of the key, of the item that is put, and those in
//! the expressions, of which the first name of a path counts. A write that returns whole items, or that has parameters of
//! the time before expressions, is taken to name every attribute, whatever AWS makes of it.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::operation::delete_item::DeleteItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    Update,
};

/// The actions of which the attributes are known.
pub(super) const WRITING: [&str; 4] = [
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:ConditionCheckItem",
];

/// The words of expressions that are no names. DynamoDB takes them in any case, and no attribute can be called so without a
/// placeholder.
const WORDS: [&str; 9] = [
    "SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN",
];

/// What a call names; `None` stands for every attribute.
pub(super) type Attributes = Option<BTreeSet<String>>;

type Item = HashMap<String, AttributeValue>;
type Placeholders = HashMap<String, String>;

/// Everything that a write has which names attributes.
macro_rules! names {
    ($write:ident, $item:ident, $($expression:ident),+) => {
        if returns_whole_items(&$write.return_values_on_condition_check_failure) {
            None
        } else {
            let expressions = [$(Option::<&str>::from($write.$expression())),+];
            names($write.$item().into(), &expressions, $write.expression_attribute_names())
        }
    };
}

pub(super) fn of_put_item(put: &PutItemInput) -> Attributes {
    if put.expected().is_some() || is_whole(put.return_values()) {
        return None;
    }
    names!(put, item, condition_expression)
}

pub(super) fn of_update_item(update: &UpdateItemInput) -> Attributes {
    let has_old_parameters = update.expected().is_some() || update.attribute_updates().is_some();
    if has_old_parameters || is_whole(update.return_values()) {
        return None;
    }
    names!(update, key, update_expression, condition_expression)
}

pub(super) fn of_delete_item(delete: &DeleteItemInput) -> Attributes {
    if delete.expected().is_some() || is_whole(delete.return_values()) {
        return None;
    }
    names!(delete, key, condition_expression)
}

pub(super) fn of_put(put: &Put) -> Attributes {
    names!(put, item, condition_expression)
}

pub(super) fn of_update(update: &Update) -> Attributes {
    names!(update, key, update_expression, condition_expression)
}

pub(super) fn of_delete(delete: &Delete) -> Attributes {
    names!(delete, key, condition_expression)
}

pub(super) fn of_check(check: &ConditionCheck) -> Attributes {
    names!(check, key, condition_expression)
}

fn is_whole(returned: Option<&ReturnValue>) -> bool {
    matches!(returned, Some(ReturnValue::AllNew | ReturnValue::AllOld))
}

fn returns_whole_items(on_failure: &Option<ReturnValuesOnConditionCheckFailure>) -> bool {
    *on_failure == Some(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn names(
    item: Option<&Item>,
    expressions: &[Option<&str>],
    placeholders: Option<&Placeholders>,
) -> Attributes {
    let mut names: BTreeSet<String> = item.into_iter().flatten().map(|it| it.0.clone()).collect();
    for expression in expressions.iter().flatten() {
        names.extend(names_in(expression, placeholders)?);
    }
    Some(names)
}

/// The first names of all paths in an expression. `None` for a placeholder that stands for nothing: DynamoDB refuses that.
fn names_in(expression: &str, placeholders: Option<&Placeholders>) -> Attributes {
    let tokens = tokens(expression);
    let mut names = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_nested = at > 0 && tokens[at - 1] == ".";
        let is_function = tokens.get(at + 1) == Some(&"(");
        if is_nested {
            continue;
        } else if token.starts_with('#') {
            names.insert(placeholders?.get(*token)?.clone());
        } else if token.starts_with(|it: char| it.is_alphabetic() || it == '_')
            && !is_function
            && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(token))
        {
            names.insert((*token).to_owned());
        }
    }
    Some(names)
}

/// Words, with the `#` or `:` before them, and signs.
fn tokens(expression: &str) -> Vec<&str> {
    let is_of_word = |it: char| it.is_alphanumeric() || it == '_';
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let behind_first = first.len_utf8();
        let end = if is_of_word(first) || matches!(first, '#' | ':') {
            let other = rest[behind_first..].find(|it| !is_of_word(it));
            other.map_or(rest.len(), |length| behind_first + length)
        } else {
            behind_first
        };
        let (token, behind) = rest.split_at(end);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests;
