//! Tables, bucket and queues as `template.yaml` defines them, made in the stand-ins.
//!
//! The template is the one definition. What is read here is literal in it; intrinsic functions are not evaluated, only a
//! reference to another resource is followed. A local resource is called like its logical id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::Context as _;
use aws_sdk_dynamodb::types as dynamodb;
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;
use serde_json::Value;
use store::describe;

const TEMPLATE: &str = include_str!("../../../template.yaml");

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Template {
    resources: BTreeMap<String, Resource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resource {
    r#type: String,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<Key>,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    time_to_live_specification: Option<TimeToLive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<Key>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    message_retention_period: Option<u32>,
    visibility_timeout: Option<u32>,
    redrive_policy: Option<RedrivePolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    /// `!GetAtt <logical id>.Arn`; reading drops the tag.
    dead_letter_target_arn: String,
    max_receive_count: u32,
}

/// The resources of the template.
#[derive(Debug)]
pub(crate) struct Definition(BTreeMap<String, Resource>);

impl Definition {
    /// Read once for the process, which takes 20 ms without optimisation: tests start hundreds of stacks.
    pub(crate) fn read() -> anyhow::Result<&'static Self> {
        static DEFINITION: LazyLock<Result<Definition, serde_saphyr::Error>> =
            LazyLock::new(|| {
                let template: Template = serde_saphyr::from_str(TEMPLATE)?;
                Ok(Definition(template.resources))
            });
        DEFINITION.as_ref().context("read template.yaml")
    }

    /// The names of the environment variables of a function.
    pub(crate) fn variables(&self, function: &str) -> anyhow::Result<BTreeSet<&str>> {
        let resource = self.0.get(function);
        let variables = resource.map(|it| &it.properties["Environment"]["Variables"]);
        let variables = variables.and_then(Value::as_object);
        let variables =
            variables.with_context(|| format!("template.yaml has no variables of {function}"))?;
        Ok(variables.keys().map(String::as_str).collect())
    }

    pub(crate) fn of_type<T: serde::de::DeserializeOwned>(
        &self,
        r#type: &str,
    ) -> anyhow::Result<Vec<(&str, T)>> {
        let resources = self
            .0
            .iter()
            .filter(|(_, resource)| resource.r#type == r#type);
        resources
            .map(|(id, resource)| {
                let properties = T::deserialize(&resource.properties)
                    .with_context(|| format!("read {id} of template.yaml"))?;
                Ok((id.as_str(), properties))
            })
            .collect()
    }

    /// Creates the tables that do not exist yet.
    pub(crate) async fn create_tables(
        &self,
        client: &aws_sdk_dynamodb::Client,
    ) -> anyhow::Result<()> {
        let existing = client
            .list_tables()
            .send()
            .await
            .map_err(describe)?
            .table_names
            .unwrap_or_default();
        for (name, table) in self.of_type::<Table>("AWS::DynamoDB::Table")? {
            if existing.iter().any(|existing| existing == name) {
                check_table(client, name, &table).await?;
            } else {
                create_table(client, name, table)
                    .await
                    .with_context(|| format!("create table {name}"))?;
            }
        }
        Ok(())
    }

    /// Creates the buckets that do not exist yet.
    pub(crate) async fn create_buckets(&self, client: &aws_sdk_s3::Client) -> anyhow::Result<()> {
        for (id, _) in self.of_type::<Value>("AWS::S3::Bucket")? {
            let name = bucket_name(id);
            if client.head_bucket().bucket(&name).send().await.is_err() {
                let create = client.create_bucket().bucket(&name).send().await;
                create
                    .map_err(describe)
                    .with_context(|| format!("create bucket {name}"))?;
            }
        }
        Ok(())
    }

    /// Creates the queues, and gives their URLs by logical id.
    pub(crate) async fn create_queues(
        &self,
        client: &aws_sdk_sqs::Client,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let mut queues = self.of_type::<Queue>("AWS::SQS::Queue")?;
        // A dead-letter queue has to exist before the queue that it serves.
        queues.sort_by_key(|(_, queue)| queue.redrive_policy.is_some());
        let mut urls = BTreeMap::new();
        for (name, queue) in queues {
            let url = create_queue(client, name, queue)
                .await
                .with_context(|| format!("create queue {name}"))?;
            urls.insert(name.to_owned(), url);
        }
        Ok(urls)
    }
}

/// Bucket names have no capital letters.
pub(crate) fn bucket_name(logical_id: &str) -> String {
    logical_id.to_lowercase()
}

/// The data may be of another version, whose tables have other indexes.
async fn check_table(
    client: &aws_sdk_dynamodb::Client,
    name: &str,
    table: &Table,
) -> anyhow::Result<()> {
    let output = client.describe_table().table_name(name).send().await;
    let description = output.map_err(describe)?.table.context("no description")?;
    let mut existing: Vec<String> = description
        .global_secondary_indexes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|index| index.index_name)
        .collect();
    let mut wanted: Vec<String> = table
        .global_secondary_indexes
        .iter()
        .map(|index| index.index_name.clone())
        .collect();
    existing.sort();
    wanted.sort();
    anyhow::ensure!(
        existing == wanted,
        "the data folder was made by another version (table {name}); begin anew with --fresh"
    );
    Ok(())
}

async fn create_table(
    client: &aws_sdk_dynamodb::Client,
    name: &str,
    table: Table,
) -> anyhow::Result<()> {
    let mut create = client
        .create_table()
        .table_name(name)
        .billing_mode(dynamodb::BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(&table.key_schema)?));
    for attribute in &table.attribute_definitions {
        let definition = dynamodb::AttributeDefinition::builder()
            .attribute_name(&attribute.attribute_name)
            .attribute_type(attribute.attribute_type.as_str().into())
            .build()?;
        create = create.attribute_definitions(definition);
    }
    for index in &table.global_secondary_indexes {
        let projection = dynamodb::Projection::builder()
            .projection_type(index.projection.projection_type.as_str().into())
            .set_non_key_attributes(index.projection.non_key_attributes.clone())
            .build();
        let index = dynamodb::GlobalSecondaryIndex::builder()
            .index_name(&index.index_name)
            .set_key_schema(Some(key_schema(&index.key_schema)?))
            .projection(projection)
            .build()?;
        create = create.global_secondary_indexes(index);
    }
    create.send().await.map_err(describe)?;
    if let Some(time_to_live) = table.time_to_live_specification {
        let specification = dynamodb::TimeToLiveSpecification::builder()
            .attribute_name(time_to_live.attribute_name)
            .enabled(time_to_live.enabled)
            .build()?;
        let update = client
            .update_time_to_live()
            .table_name(name)
            .time_to_live_specification(specification);
        update.send().await.map_err(describe)?;
    }
    Ok(())
}

fn key_schema(keys: &[Key]) -> anyhow::Result<Vec<dynamodb::KeySchemaElement>> {
    let element = |key: &Key| {
        dynamodb::KeySchemaElement::builder()
            .attribute_name(&key.attribute_name)
            .key_type(key.key_type.as_str().into())
            .build()
            .map_err(anyhow::Error::from)
    };
    keys.iter().map(element).collect()
}

async fn create_queue(
    client: &aws_sdk_sqs::Client,
    name: &str,
    queue: Queue,
) -> anyhow::Result<String> {
    let mut create = client.create_queue().queue_name(name);
    if let Some(seconds) = queue.message_retention_period {
        create = create.attributes(
            QueueAttributeName::MessageRetentionPeriod,
            seconds.to_string(),
        );
    }
    if let Some(seconds) = queue.visibility_timeout {
        create = create.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string());
    }
    if let Some(redrive) = queue.redrive_policy {
        let target = redrive.dead_letter_target_arn.trim_end_matches(".Arn");
        let policy = serde_json::json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:{}:{}:{target}", crate::REGION, crate::ACCOUNT),
            "maxReceiveCount": redrive.max_receive_count,
        });
        create = create.attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    create
        .send()
        .await
        .map_err(describe)?
        .queue_url
        .context("a created queue has a URL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::webhook::schedule::RetryLimits;

    #[test]
    fn the_rule_fires_once_a_round() {
        let definition = Definition::read().unwrap();
        let events = &definition.0["RetryWebhooks"].properties["Events"];
        let schedule = &events["Hourly"]["Properties"]["Schedule"];
        assert_eq!(schedule, "rate(1 hour)");
        assert_eq!(RetryLimits::default().round.as_secs(), 3600);
    }
}
