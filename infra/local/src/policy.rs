//! What the functions may do: each calls the stand-ins under the policy that `template.yaml` gives it, as on AWS.
//!
//! So a permission that is missing there is missed here. What was used is noted: a test compares it with what is allowed,
//! and a statement stands in the template only because something needs it.
//!
//! What keeps this small is checked while it is read: statements allow, actions are spelled out, and a resource is one of
//! the template's, with at most one `*` at its end. Of conditions two are known: which attributes a write of DynamoDB may
//! name, which is in force here, and the service through which a key is used, which only AWS knows.

mod attributes;
mod operations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use serde::Deserialize;
use serde::de::IgnoredAny;

use self::operations::Need;
use crate::definition::{Definition, bucket_name};

/// The policies of all functions.
#[derive(Clone, Debug)]
pub struct Policies(Vec<Enforced>);

/// An action on a resource that a function's policy allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The function's logical id.
    pub function: String,
    /// Such as `s3:PutObject`.
    pub action: String,
    /// The logical id of a resource and what follows its ARN, such as `ReportsBucket/reports/*`; or a whole ARN, where
    /// the template has one.
    pub resource: String,
    /// The attribute of items, where only some may be named.
    pub attribute: Option<String>,
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            action,
            resource,
            attribute,
        } = self;
        write!(formatter, "{function}: {action} on {resource}")?;
        match attribute {
            None => Ok(()),
            Some(attribute) => write!(formatter, ", attribute {attribute}"),
        }
    }
}

impl Policies {
    /// The policies of the template, when its conditions hold as `holds` says: `None` of one that is not known.
    pub(crate) fn read(
        definition: &Definition,
        holds: impl Fn(&str) -> Option<bool>,
    ) -> anyhow::Result<Self> {
        let functions = definition.of_type::<Function>("AWS::Serverless::Function")?;
        let policies = functions.into_iter().map(|(function, properties)| {
            let context = || format!("read the policy of {function} in template.yaml");
            let documents = properties.policies.into_iter();
            let documents = documents.map(|it| it.document(&holds));
            let documents: anyhow::Result<Vec<_>> = documents.collect();
            let documents = documents.with_context(context)?.into_iter().flatten();
            let policy = Policy::new(function, documents.collect()).with_context(context)?;
            Ok(Enforced(Arc::new(policy)))
        });
        policies.collect::<anyhow::Result<_>>().map(Self)
    }

    /// The functions' logical ids, and what enforces their policies.
    pub(crate) fn of_functions(&self) -> impl Iterator<Item = (&str, &Enforced)> {
        self.0.iter().map(|it| (it.0.function.as_str(), it))
    }

    /// What is allowed.
    pub fn allowed(&self) -> Vec<Permission> {
        self.permissions(|_| true)
    }

    /// What is allowed and was used so far. Of permissions that allow the same, the first counts.
    pub fn used(&self) -> Vec<Permission> {
        self.permissions(|is_used| is_used.load(Ordering::Relaxed))
    }

    fn permissions(&self, is_wanted: impl Fn(&AtomicBool) -> bool) -> Vec<Permission> {
        let grants = self.0.iter().flat_map(|it| &it.0.grants);
        let permissions = grants.flat_map(Grant::permissions);
        let wanted = permissions.filter(|(_, is_used)| is_wanted(is_used));
        wanted.map(|(permission, _)| permission).collect()
    }

    /// What was refused so far, in words.
    pub fn refused(&self) -> Vec<String> {
        let of = |it: &Enforced| {
            let refused = it.0.refused.lock();
            refused.unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.0.iter().flat_map(of).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Function {
    policies: Vec<Policied>,
}

/// A document, or `!If [condition, document, !Ref AWS::NoValue]`, where reading drops the tags.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a policy or one of two")]
enum Policied {
    Always(Document),
    If(String, Document, String),
}

impl Policied {
    fn document(self, holds: impl Fn(&str) -> Option<bool>) -> anyhow::Result<Option<Document>> {
        match self {
            Self::Always(document) => Ok(Some(document)),
            Self::If(condition, document, otherwise) => {
                anyhow::ensure!(otherwise == "AWS::NoValue", "{otherwise} is no policy");
                let holds = holds(&condition);
                let holds = holds.with_context(|| format!("{condition} is not known here"))?;
                Ok(holds.then_some(document))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    _version: IgnoredAny,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "Sid")]
    _sid: Option<IgnoredAny>,
    #[serde(rename = "Effect")]
    _effect: Effect,
    action: OneOrMany,
    resource: OneOrMany,
    #[serde(default)]
    condition: Condition,
}

/// What has to hold: by its operator, and by the key of what it is about.
type Condition = BTreeMap<String, BTreeMap<String, OneOrMany>>;

#[derive(Deserialize)]
enum Effect {
    Allow,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// What one function may do, and what it did.
#[derive(Debug)]
struct Policy {
    function: String,
    grants: Vec<Grant>,
    refused: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Grant {
    permission: Permission,
    /// The resource as calls name it here; a `*` at its end stands for anything.
    pattern: String,
    /// The only attributes of items that a call may name, if not all, and whether one did.
    attributes: Option<BTreeMap<String, AtomicBool>>,
    is_used: AtomicBool,
}

impl Policy {
    fn new(function: &str, documents: Vec<Document>) -> anyhow::Result<Self> {
        let mut grants: Vec<Grant> = Vec::new();
        for statement in documents.iter().flat_map(|it| &it.statement) {
            for action in statement.action.all() {
                for resource in statement.resource.all() {
                    let grant = Grant::new(function, action, resource, &statement.condition)?;
                    let is_new = grants.iter().all(|it| it.permission != grant.permission);
                    anyhow::ensure!(is_new, "{action} on {resource} is allowed twice");
                    grants.push(grant);
                }
            }
        }
        Ok(Self {
            function: function.to_owned(),
            grants,
            refused: Mutex::default(),
        })
    }

    /// Notes what a call uses.
    ///
    /// # Errors
    /// Something that it needs is not allowed.
    fn check(&self, needs: &[Need]) -> Result<(), String> {
        for need in needs {
            let Some(grant) = self.grants.iter().find(|grant| grant.covers(need)) else {
                return Err(format!(
                    "AccessDenied: in template.yaml the policy of {} does not allow {} on {}",
                    self.function, need.action, need.resource
                ));
            };
            if let Some(refused) = grant.attributes_refused(need) {
                return Err(format!(
                    "AccessDenied: in template.yaml the policy of {} does not allow {} of {refused} on {}",
                    self.function, need.action, need.resource
                ));
            }
            grant.note_use(need);
        }
        Ok(())
    }
}

impl Grant {
    fn new(
        function: &str,
        action: &str,
        resource: &str,
        condition: &Condition,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !action.contains(['*', '?']),
            "the action {action} has a wildcard"
        );
        let (resource, pattern) = names(action, resource)
            .with_context(|| format!("the resource {resource} is of no kind that is known here"))?;
        Ok(Self {
            permission: Permission {
                function: function.to_owned(),
                action: action.to_owned(),
                resource,
                attribute: None,
            },
            pattern,
            attributes: attributes_of(action, condition)?,
            is_used: AtomicBool::new(false),
        })
    }

    /// What is allowed, and whether it was used: an attribute is a permission of its own.
    fn permissions(&self) -> Vec<(Permission, &AtomicBool)> {
        let Some(attributes) = &self.attributes else {
            return vec![(self.permission.clone(), &self.is_used)];
        };
        let of = |(attribute, is_used)| {
            let permission = Permission {
                attribute: Some(String::clone(attribute)),
                ..self.permission.clone()
            };
            (permission, is_used)
        };
        attributes.iter().map(of).collect()
    }

    /// What a call names that it may not, in words.
    fn attributes_refused(&self, need: &Need) -> Option<String> {
        let allowed = self.attributes.as_ref()?;
        let Some(named) = &need.attributes else {
            return Some("any attribute".to_owned());
        };
        let others = named.iter().filter(|it| !allowed.contains_key(*it));
        let others: Vec<&str> = others.map(String::as_str).collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    fn note_use(&self, need: &Need) {
        self.is_used.store(true, Ordering::Relaxed);
        for (attribute, is_used) in self.attributes.iter().flatten() {
            if need.attributes.iter().flatten().any(|it| it == attribute) {
                is_used.store(true, Ordering::Relaxed);
            }
        }
    }

    fn covers(&self, need: &Need) -> bool {
        self.permission.action == need.action
            && match self.pattern.strip_suffix('*') {
                Some(prefix) => need.resource.starts_with(prefix),
                None => self.pattern == need.resource,
            }
    }
}

/// The only attributes that a call may name under this condition, if it is about them.
fn attributes_of(
    action: &str,
    condition: &Condition,
) -> anyhow::Result<Option<BTreeMap<String, AtomicBool>>> {
    let mut attributes = None;
    for (operator, compared) in condition {
        for (key, values) in compared {
            match (operator.as_str(), key.as_str()) {
                ("StringEquals", "kms:ViaService") if action.starts_with("kms:") => {}
                ("ForAllValues:StringEquals", "dynamodb:Attributes") => {
                    // What is read as a whole names no attribute, so this would not restrict it.
                    anyhow::ensure!(
                        attributes::WRITING.contains(&action),
                        "a condition on attributes restricts no {action}"
                    );
                    let names = values.all().iter().cloned();
                    attributes = Some(names.map(|it| (it, AtomicBool::new(false))).collect());
                }
                _ => anyhow::bail!("the condition {operator} {key} of {action} is not known here"),
            }
        }
    }
    Ok(attributes)
}

/// A resource as [`Permission`] names it, and as calls do here. It is `!GetAtt Id.Arn` or `!Sub ${Id.Arn}/…` in the template,
/// where reading drops the tags; or an ARN that is written out, which no call has here.
fn names(action: &str, resource: &str) -> Option<(String, String)> {
    if resource.starts_with("arn:") {
        return Some((resource.to_owned(), resource.to_owned()));
    }
    let (id, rest) = match resource.strip_prefix("${") {
        Some(substituted) => substituted.split_once(".Arn}")?,
        None => (resource.strip_suffix(".Arn")?, ""),
    };
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_path = rest.is_empty() || rest.starts_with('/');
    let fixed = rest.strip_suffix('*').unwrap_or(rest);
    if !is_id || !is_path || fixed.contains(['*', '?', '$']) {
        return None;
    }
    let local = if action.starts_with("s3:") {
        bucket_name(id)
    } else {
        id.to_owned()
    };
    Some((format!("{id}{rest}"), format!("{local}{rest}")))
}

/// Lets the SDK client of a function call only what its policy allows.
#[derive(Clone, Debug)]
pub(crate) struct Enforced(Arc<Policy>);

impl Intercept for Enforced {
    fn name(&self) -> &'static str {
        "Policy"
    }

    /// Once for each call, however often the SDK tries it; and also for one that is only presigned.
    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let result = match operations::needs(context.input()) {
            Some(needs) => self.0.check(&needs),
            None => {
                let operation = config.load::<Metadata>().map(Metadata::name);
                Err(format!(
                    "AccessDenied: {} calls {}, and infra/local/src/policy/operations.rs does not say what that needs",
                    self.0.function,
                    operation.unwrap_or("an operation"),
                ))
            }
        };
        result.map_err(|message| {
            let refused = self.0.refused.lock();
            refused
                .unwrap_or_else(PoisonError::into_inner)
                .push(message.clone());
            message.into()
        })
    }
}

#[cfg(test)]
mod tests;
