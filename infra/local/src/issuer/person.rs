//! As whom one can sign in.

use identity::Role;

use crate::issuer::SUBJECT;

/// Somebody with this role in the demo organization, or with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person(Option<Role>);

impl Person {
    /// Everybody, in the order of the page.
    pub(super) const ALL: [Self; 4] = [
        Self(Some(Role::Administrator)),
        Self(Some(Role::Editor)),
        Self(Some(Role::Viewer)),
        Self(None),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|person| person.name() == name)
    }

    pub(super) fn role(self) -> Option<Role> {
        self.0
    }

    /// The value of the button, and the local part of the e-mail address.
    pub(super) fn name(self) -> &'static str {
        self.0.map_or("nobody", Role::as_str)
    }

    /// What the button says.
    pub(super) fn label(self) -> &'static str {
        match self.0 {
            Some(Role::Owner) => "Owner",
            Some(Role::Administrator) => "Administrator",
            Some(Role::Editor) => "Editor",
            Some(Role::Viewer) => "Viewer",
            None => "Nobody",
        }
    }

    /// The claim `sub`. The administrator is who has the tokens of the command line.
    pub(super) fn subject(self) -> &'static str {
        match self.0 {
            Some(Role::Owner) => "developer-owner",
            Some(Role::Administrator) => SUBJECT,
            Some(Role::Editor) => "developer-editor",
            Some(Role::Viewer) => "developer-viewer",
            None => "developer-nobody",
        }
    }
}
