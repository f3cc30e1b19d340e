//! The descriptions of rules, and the rules for a category.

use std::collections::{BTreeMap, HashSet};

use findings::{Block, Mode, Rule, Standard};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::Client;
use crate::error::Error;
use crate::issues::Search;
use crate::text;
use crate::wire;

/// How many are requested at once. The client sends fewer.
const AT_ONCE: usize = 4;
/// How many rules a page has at most.
const PAGE: usize = 500;
/// How many pages a search has at most: it shows 10,000 rules.
const PAGES: usize = 20;

/// The parts of a rule's description that say why and what to do.
const TOLD: [(&str, &str); 4] = [
    ("introduction", ""),
    ("root_cause", "Why is this an issue?"),
    ("assess_the_problem", "What to ask"),
    ("how_to_fix", "How to fix it"),
];

/// The rules with these keys, which differ from each other. A rule that the server does not show has its key as its name.
pub(crate) async fn rules(
    client: &Client,
    keys: impl IntoIterator<Item = &str>,
    on_each: impl Fn(usize),
) -> Result<BTreeMap<String, Rule>, Error> {
    let mut shown = Vec::new();
    for key in keys {
        shown.push(async move { Ok::<_, Error>((key.to_owned(), rule(client, key).await?)) });
    }
    let mut rules = BTreeMap::new();
    let mut shown = std::pin::pin!(stream::iter(shown).buffer_unordered(AT_ONCE));
    while let Some((key, rule)) = shown.try_next().await? {
        rules.insert(key, rule);
        on_each(rules.len());
    }
    Ok(rules)
}

async fn rule(client: &Client, key: &str) -> Result<Rule, Error> {
    let mut parameters = vec![("key", key)];
    parameters.extend(client.organization().map(|it| ("organization", it)));
    let shown = client.get::<wire::ShownRule>("api/rules/show", &parameters);
    let wire::ShownRule { rule } = match shown.await {
        Ok(shown) => shown,
        Err(Error::NotFound { .. } | Error::Forbidden { .. }) => {
            return Ok(Rule {
                name: key.to_owned(),
                text: Vec::new(),
            });
        }
        Err(error) => return Err(error),
    };
    let mut blocks = Vec::new();
    for (part, heading) in TOLD {
        // "How to fix it" has a section for each framework. The first is enough to know where to look.
        let section = rule.description_sections.iter().find(|it| it.key == part);
        let said = section
            .map(|it| text::blocks(&it.content))
            .unwrap_or_default();
        if !said.is_empty() && !heading.is_empty() {
            blocks.push(Block::Heading(heading.to_owned()));
        }
        blocks.extend(said);
    }
    if blocks.is_empty() {
        // Some analyzers have one section for everything, or none.
        let only = rule
            .description_sections
            .first()
            .map(|it| it.content.as_str());
        blocks = text::blocks(only.or(rule.html_desc.as_deref()).unwrap_or_default());
    }
    Ok(Rule {
        name: if rule.name.is_empty() {
            key.to_owned()
        } else {
            rule.name
        },
        text: blocks,
    })
}

/// How many rules look for each category of a standard, in the quality profiles that analysed the branch; `None` when the
/// server does not tell.
pub(crate) async fn active(
    search: &Search<'_>,
    profiles: Option<&[wire::Profile]>,
    standard: &Standard,
) -> Result<Option<Vec<u64>>, Error> {
    let Some(profiles) = profiles else {
        return Ok(None);
    };
    match counted(search, profiles, standard).await {
        Ok(counts) => Ok(Some(counts)),
        // The findings can be trusted without it.
        Err(
            Error::NotFound { .. }
            | Error::Forbidden { .. }
            | Error::UnknownUrl(_)
            | Error::BadRequest { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A profile says which of its rules are active, but not for which category. A category has rules of all profiles. So both
/// are requested and compared: one request for each profile and each category, instead of one for each pair.
async fn counted(
    search: &Search<'_>,
    profiles: &[wire::Profile],
    standard: &Standard,
) -> Result<Vec<u64>, Error> {
    let values = standard.values();
    let all = values.join(",");
    let mut of_profiles = Vec::with_capacity(profiles.len());
    for profile in profiles {
        let active = [("qprofile", profile.key.as_str()), ("activation", "true")];
        of_profiles.push(found(search, standard, &all, active));
    }
    let active: Vec<HashSet<String>> = stream::iter(of_profiles)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let active: HashSet<String> = active.into_iter().flatten().collect();
    if active.is_empty() {
        return Ok(vec![0; values.len()]);
    }
    let mut of_categories = Vec::with_capacity(values.len());
    for value in &values {
        of_categories.push(found(search, standard, value, []));
    }
    let of_categories: Vec<HashSet<String>> = stream::iter(of_categories)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let count = |rules: &HashSet<String>| rules.intersection(&active).count() as u64;
    Ok(of_categories.iter().map(count).collect())
}

/// The keys of the rules of some categories that find issues that count, or hotspots.
async fn found<'a>(
    search: &'a Search<'_>,
    standard: &'a Standard,
    values: &'a str,
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HashSet<String>, Error> {
    let kinds: &[(&str, &str)] = match search.dialect.mode {
        Mode::Standard => &[("types", "VULNERABILITY,SECURITY_HOTSPOT")],
        Mode::Mqr => &[
            ("impactSoftwareQualities", "SECURITY"),
            ("types", "SECURITY_HOTSPOT"),
        ],
    };
    let more: Vec<(&str, &str)> = more.into_iter().collect();
    let mut keys = HashSet::new();
    for kind in kinds {
        let mut parameters = vec![(standard.parameter.as_str(), values), *kind];
        parameters.extend([("f", "lang"), ("ps", "500")]);
        parameters.extend(&more);
        parameters.extend(search.client.organization().map(|it| ("organization", it)));
        for page in 1..=PAGES {
            let page = page.to_string();
            let mut parameters = parameters.clone();
            parameters.push(("p", page.as_str()));
            let rules: wire::Rules = search.client.get("api/rules/search", &parameters).await?;
            let (total, shown) = (rules.total(), rules.rules.len());
            keys.extend(rules.rules.into_iter().map(|rule| rule.key));
            if shown < PAGE || total <= PAGE as u64 {
                break;
            }
        }
    }
    Ok(keys)
}
