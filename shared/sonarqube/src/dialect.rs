//! The dialect of a server: its version, its mode of rating, and the names of its parameters.

use std::sync::atomic::{AtomicBool, Ordering};

use findings::{Mode, Server};

use crate::client::Client;
use crate::error::Error;
use crate::wire;

/// The longest version, in characters. Known versions have up to 17, and development builds a word more.
const LONGEST_VERSION: usize = 40;

/// The differences between servers, asked once.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) server: Server,
    pub(crate) mode: Mode,
    /// Year or number, and minor. Cloud counts as newer than all.
    version: (u32, u32),
    /// Whether searches use the names of parameters that 10.2 introduced. Versions up to 2026.3 at least understand the old
    /// names, and Cloud knows only them.
    new_issue_names: AtomicBool,
    new_hotspot_names: AtomicBool,
}

impl Dialect {
    /// Asks the server for its version, if it tells it, and adapts the client to the version.
    pub(crate) async fn version_of(client: &Client) -> Result<Option<String>, Error> {
        let (text, _) = Self::known_version(client).await?;
        Ok((!client.is_cloud()).then_some(text))
    }

    async fn known_version(client: &Client) -> Result<(String, (u32, u32)), Error> {
        let text = client.text("api/server/version").await?;
        let version = parsed(&text).ok_or_else(|| Error::Malformed {
            what: "api/server/version".to_owned(),
            why: "it is no version".to_owned(),
        })?;
        if !client.is_cloud() && version < (10, 0) {
            client.use_basic();
        }
        Ok((text, version))
    }

    /// Asks the server.
    pub(crate) async fn of(client: &Client) -> Result<Self, Error> {
        let (text, version) = Self::known_version(client).await?;
        let is_cloud = client.is_cloud();
        // Cloud has said 8.0 for years.
        let version = if is_cloud { (u32::MAX, 0) } else { version };
        let mode = if version >= (10, 8) {
            mode(client, is_cloud).await?
        } else {
            Mode::Standard
        };
        Ok(Self {
            server: Server {
                url: client.url().to_owned(),
                version: (!is_cloud).then_some(text),
            },
            mode,
            version,
            new_issue_names: AtomicBool::new(false),
            new_hotspot_names: AtomicBool::new(false),
        })
    }

    /// Whether the server has at least this version.
    pub(crate) fn is_from(&self, major: u32, minor: u32) -> bool {
        self.version >= (major, minor)
    }

    /// The parameter for the project in a search for issues.
    pub(crate) fn issues_project(&self) -> &'static str {
        ["componentKeys", "components"][usize::from(self.new_issue_names.load(Ordering::Relaxed))]
    }

    /// The parameter for the project in a search for hotspots.
    pub(crate) fn hotspots_project(&self) -> &'static str {
        ["projectKey", "project"][usize::from(self.new_hotspot_names.load(Ordering::Relaxed))]
    }

    /// Switches to the new name. Gives whether that changes anything.
    pub(crate) fn rename_issues_project(&self) -> bool {
        !self.new_issue_names.swap(true, Ordering::Relaxed)
    }

    /// The same for hotspots.
    pub(crate) fn rename_hotspots_project(&self) -> bool {
        !self.new_hotspot_names.swap(true, Ordering::Relaxed)
    }
}

/// The server's mode. From 10.8 on there are two modes, and an administrator chooses.
async fn mode(client: &Client, is_cloud: bool) -> Result<Mode, Error> {
    let answer = client.get::<wire::Mode>("api/v2/clean-code-policy/mode", &[]);
    match answer.await {
        Ok(wire::Mode { mode }) if mode == "MQR" => Ok(Mode::Mqr),
        Ok(_) => Ok(Mode::Standard),
        // This is an internal call, so a server may lack it. Cloud knows impacts only.
        Err(Error::UnknownUrl(_) | Error::NotFound { .. } | Error::Forbidden { .. }) => {
            if is_cloud {
                return Ok(Mode::Mqr);
            }
            setting(client).await
        }
        Err(error) => Err(error),
    }
}

/// The mode that the administrator has chosen, by the setting itself. It is not guessed, since the mode decides which issues
/// count.
async fn setting(client: &Client) -> Result<Mode, Error> {
    let parameters = [("keys", "sonar.multi-quality-mode.enabled")];
    let found = client.get::<wire::Settings>("api/settings/values", &parameters);
    let settings = match found.await {
        Ok(found) => found.settings,
        Err(Error::UnknownUrl(_) | Error::NotFound { .. } | Error::Forbidden { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    match settings.first().map(|it| it.value.as_str()) {
        Some("true") => Ok(Mode::Mqr),
        Some("false") => Ok(Mode::Standard),
        _ => Err(Error::NoMode),
    }
}

/// The first two numbers of a version: 9.9.0.65466, 2025.1.0.102418, and 26.3.0.120487 of Community Build. A text with
/// anything else is not a version, since the text is stored and shown.
fn parsed(text: &str) -> Option<(u32, u32)> {
    let is_of_versions = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-');
    if text.len() > LONGEST_VERSION || !text.bytes().all(is_of_versions) {
        return None;
    }
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_editions_are_in_one_order() {
        let versions = [
            "9.9.0.65466",
            "10.0.0.1",
            "10.8.1.101195",
            "24.12.0.1",
            "26.3.0.120487",
            "2025.1.0.1",
            "2026.3",
        ];
        let parsed: Vec<(u32, u32)> = versions.iter().map(|it| parsed(it).unwrap()).collect();
        assert!(parsed.is_sorted());
        assert_eq!(super::parsed("10.8-SNAPSHOT"), None);
        assert_eq!(super::parsed("10.8.0-SNAPSHOT"), Some((10, 8)));
        let long = format!("10.0.{}", "1".repeat(LONGEST_VERSION - 5));
        assert_eq!(super::parsed(&long), Some((10, 0)));
        let longer = format!("{long}1");
        let wrong = [
            "",
            "10",
            "<html>",
            "10.x",
            "+10.0",
            "10.0.<b>",
            "10.0 1",
            "10.0.\u{1b}[2J",
            &longer,
        ];
        for wrong in wrong {
            assert_eq!(super::parsed(wrong), None, "{wrong}");
        }
    }
}
