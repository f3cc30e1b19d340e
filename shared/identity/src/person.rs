//! A person, and the person's roles in organizations.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use domain::organization::OrganizationId;
use time::OffsetDateTime;

/// A person whose identity the issuer asserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The issuer's id of the person, from the claim `sub`.
    pub subject: String,
    /// The person's e-mail address, from the claim `email`, if the issuer gives it. It is for display only, and proves
    /// nothing.
    pub email: Option<String>,
    /// When the issuer's assertion expires.
    pub expires_at: OffsetDateTime,
    /// The highest role in each organization.
    pub(crate) roles: BTreeMap<OrganizationId, Role>,
}

impl Identity {
    /// The highest role that the person has in an organization.
    pub fn role_in(&self, org: OrganizationId) -> Option<Role> {
        self.roles.get(&org).copied()
    }

    /// The organizations in which the person has a role.
    pub fn organizations(&self) -> impl Iterator<Item = OrganizationId> {
        self.roles.keys().copied()
    }
}

/// A role in an organization. A higher role may do whatever a lower one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes reports.
    Editor,
    /// Changes how the organization works, including its webhooks.
    Administrator,
    /// Owns the organization.
    Owner,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Administrator, Self::Owner];

    /// The role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Administrator => "administrator",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

/// A text that is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("roles are viewer, editor, administrator and owner")]
pub struct UnknownRole;
