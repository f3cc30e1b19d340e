//! What all pages share.

use std::fmt;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use domain::date::GivenDate;
use domain::organization::OrganizationId;
use domain::report::QualityGateStatus;
use identity::{Identity, Role};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::assets;
use crate::handle::Handle;
use crate::links::Links;
use crate::problem::Problem;
use crate::session::SignedIn;
use crate::visit::Visit;

/// The section of the panel that a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Reports,
    Webhooks,
    Sources,
    Tokens,
    Organization,
    None,
}

/// The frame around a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The path of the organization's part of the panel; of the panel itself without an organization.
    pub(crate) base: String,
    /// The path of the panel, without a slash at the end.
    pub(crate) root: String,
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) section: Section,
    pub(crate) who: Option<Who>,
}

/// The person who looks at a page.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) is_administrator: bool,
    /// Whether there are other organizations to choose.
    pub(crate) has_others: bool,
    /// When the session ends, if that is soon and it is not renewed automatically.
    pub(crate) ends_at: Option<When>,
}

impl Frame {
    pub(crate) fn of_nobody(links: &Links) -> Self {
        let root = links.path("/panel");
        Self {
            base: root.clone(),
            root,
            style: links.path(&assets::style()),
            script: links.path(&assets::script()),
            section: Section::None,
            who: None,
        }
    }

    pub(crate) fn of(visit: &Visit, section: Section) -> Self {
        Self {
            section,
            ..Self::of_member(&visit.who, &visit.links, visit.org, visit.role)
        }
    }

    /// The frame for a signed-in person, in the organization that a path names, if the person belongs to it.
    pub(crate) fn of_path(who: &SignedIn, links: &Links, path: &str) -> Self {
        let handle = path.split('/').nth(2).unwrap_or_default();
        let identity = &who.identity;
        let named = |org: &OrganizationId| Handle::of(*org).as_str() == handle;
        let org = identity.organizations().find(named);
        match org.and_then(|org| Some((org, identity.role_in(org)?))) {
            Some((org, role)) => Self::of_member(who, links, org, role),
            None => Self::of_person(links, name_of(identity)),
        }
    }

    fn of_member(who: &SignedIn, links: &Links, org: OrganizationId, role: Role) -> Self {
        let identity = &who.identity;
        let is_renewed = who.session.refresh_token.is_some();
        let is_soon = identity.expires_at - who.now < SOON;
        let ends_at = (!is_renewed && is_soon).then(|| When::at(identity.expires_at));
        Self {
            base: links.path(&format!("/panel/{}", Handle::of(org))),
            who: Some(Who {
                name: name_of(identity),
                role: role.as_str(),
                is_administrator: role >= Role::Administrator,
                has_others: identity.organizations().nth(1).is_some(),
                ends_at,
            }),
            ..Self::of_nobody(links)
        }
    }

    /// The frame for a signed-in person without an organization.
    pub(crate) fn of_person(links: &Links, name: String) -> Self {
        Self {
            who: Some(Who {
                name,
                role: "",
                is_administrator: false,
                has_others: false,
                ends_at: None,
            }),
            ..Self::of_nobody(links)
        }
    }

    /// The attribute that marks the current section's link.
    pub(crate) fn current(&self, section: Section) -> &'static str {
        if self.section == section {
            "page"
        } else {
            "false"
        }
    }

    /// Whether there are links to sections.
    pub(crate) fn has_sections(&self) -> bool {
        self.who.as_ref().is_some_and(|who| !who.role.is_empty())
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.is_administrator)
    }
}

/// How long before the end of a session people are warned.
const SOON: time::Duration = time::Duration::minutes(2);

/// The name that the panel shows for a person.
pub(crate) fn name_of(identity: &Identity) -> String {
    let name = identity.email.as_ref().unwrap_or(&identity.subject);
    name.clone()
}

/// A time, for machines, and for people until the script shows it in their zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    pub(crate) iso: String,
    pub(crate) text: String,
}

impl When {
    /// A time of the API's. A text that is not a time stays unchanged.
    pub(crate) fn of(text: &str) -> Self {
        match text.parse::<GivenDate>() {
            Ok(date) => Self::at(date.instant()),
            Err(_) => Self {
                iso: String::new(),
                text: text.to_owned(),
            },
        }
    }

    pub(crate) fn at(time: OffsetDateTime) -> Self {
        let time = time.to_offset(time::UtcOffset::UTC);
        let seconds = time.replace_nanosecond(0).unwrap_or(time);
        let format = format_description!(
            "[day padding:none] [month repr:short] [year], [hour]:[minute]:[second] UTC"
        );
        Self {
            iso: seconds.format(&Rfc3339).unwrap_or_default(),
            text: time.format(format).unwrap_or_default(),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A state, as people see it: a sign, a word, and a class for its colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) class: &'static str,
    pub(crate) sign: &'static str,
    pub(crate) word: String,
}

impl State {
    /// The state of a delivery.
    pub(crate) fn of_delivery(state: &str) -> Self {
        let (class, sign, word) = match state {
            "delivered" => ("good", "✓", "Delivered"),
            "failed" => ("bad", "✕", "Failed"),
            "held" => ("held", "‖", "Held"),
            "rejected" => ("bad", "✕", "Rejected"),
            "pending" => ("wait", "…", "Pending"),
            other => ("wait", "?", other),
        };
        Self::new(class, sign, word)
    }

    /// That of a quality gate.
    pub(crate) fn of_gate(gate: QualityGateStatus) -> Option<Self> {
        match gate {
            QualityGateStatus::Ok => Some(Self::new("good", "✓", "Passed")),
            QualityGateStatus::Warn => Some(Self::new("wait", "!", "Passed with a warning")),
            QualityGateStatus::Error => Some(Self::new("bad", "✕", "Failed")),
            QualityGateStatus::None => None,
        }
    }

    pub(crate) fn new(class: &'static str, sign: &'static str, word: &str) -> Self {
        Self {
            class,
            sign,
            word: word.to_owned(),
        }
    }
}

/// The name that the panel shows for an organization. It has no name of its own, and its id gives access to reports.
pub(crate) fn organization_name(org: OrganizationId) -> String {
    let handle = Handle::of(org);
    format!("Organization {}", &handle.as_str()[..4])
}

/// The response with a page.
pub(crate) fn page(template: &impl Template) -> Result<Response, Problem> {
    page_with(StatusCode::OK, template)
}

/// The same with another status.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    Ok((status, Html(template.render()?)).into_response())
}

/// A number of things, with the right form of their name.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_zone_and_with_it() {
        let when = When::of("2026-11-26T01:02:03.1234567+02:00");
        assert_eq!(when.iso, "2026-11-25T23:02:03Z");
        assert_eq!(when.text, "25 Nov 2026, 23:02:03 UTC");
        assert_eq!(
            When::of("2025-11-03T08:15:00+0000").iso,
            "2025-11-03T08:15:00Z"
        );
        assert_eq!(When::of("soon").text, "soon");
    }
}
