//! Checks whether reports can be made with a server and a token, before anybody relies on them.

use domain::date::GivenDate;
use findings::Mode;

use crate::client::Client;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::wire;

/// What a server says of itself, and of the token's user. `None` is what could not be asked, because something before it
/// failed.
#[derive(Debug, Default)]
pub struct Checked {
    /// Whether a `SonarQube` server answers.
    pub is_reachable: bool,
    /// Whether the server accepts the token.
    pub is_token_valid: Option<bool>,
    /// When the token expires, if it does.
    pub token_expires_at: Option<GivenDate>,
    /// How many projects the token's user may browse.
    pub projects: Option<u64>,
    /// The edition, such as `community`. Not every version tells it.
    pub edition: Option<String>,
    /// Its version. Cloud has none.
    pub version: Option<String>,
    /// How it rates issues.
    pub mode: Option<Mode>,
    /// What to repair.
    pub problem: Option<Problem>,
}

/// What to repair.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The server failed, or refused the request.
    #[error(transparent)]
    Error(#[from] Error),
    /// The server answers, but does not know the token.
    #[error(
        "SonarQube does not accept the token: it is wrong, expired or revoked; make another one in SonarQube under My Account, Security, of the type User Token"
    )]
    InvalidToken,
    /// The token's user sees no project.
    #[error(
        "the token's user may browse no project; give it the permission 'Browse' on the projects that reports are to be made of"
    )]
    NoProjects,
}

/// Checks whether reports can be made from a server.
pub async fn check(client: &Client) -> Checked {
    let mut checked = Checked::default();
    if let Err(problem) = fill(client, &mut checked).await {
        checked.problem = Some(problem);
    }
    checked.token_expires_at = client.token_expires_at();
    checked
}

async fn fill(client: &Client, checked: &mut Checked) -> Result<(), Problem> {
    // An unknown user may ask for the version, and servers before 10.0 are asked in another way.
    let version = Dialect::version_of(client).await?;
    checked.is_reachable = true;
    checked.version = version;
    let is_valid = validate(client).await?;
    checked.is_token_valid = Some(is_valid);
    if !is_valid {
        return Err(Problem::InvalidToken);
    }
    checked.edition = edition(client).await?;
    let dialect = Dialect::of(client).await?;
    checked.mode = Some(dialect.mode);
    let mut parameters = vec![("qualifiers", "TRK"), ("ps", "1")];
    parameters.extend(client.organization().map(|it| ("organization", it)));
    let found: wire::Components = client.get("api/components/search", &parameters).await?;
    checked.projects = Some(found.paging.total);
    match found.paging.total {
        0 => Err(Problem::NoProjects),
        _ => Ok(()),
    }
}

/// Whether the server accepts the token.
async fn validate(client: &Client) -> Result<bool, Error> {
    match client.get("api/authentication/validate", &[]).await {
        Ok(wire::Validated { valid }) => Ok(valid),
        Err(Error::Unauthorized) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The edition, if the server tells it.
async fn edition(client: &Client) -> Result<Option<String>, Error> {
    match client.get("api/navigation/global", &[]).await {
        Ok(wire::Global { edition }) => Ok(edition.map(|it| client.said(&it))),
        Err(
            Error::UnknownUrl(_)
            | Error::NotFound { .. }
            | Error::Forbidden { .. }
            | Error::BadRequest { .. }
            | Error::Malformed { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the server to accept the token. The answer also tells when the token expires.
///
/// # Errors
/// [`Error::Unauthorized`] if the server does not accept it.
pub async fn greet(client: &Client) -> Result<(), Error> {
    Dialect::version_of(client).await?;
    match validate(client).await? {
        true => Ok(()),
        false => Err(Error::Unauthorized),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canned::client_of;

    async fn validity(status: u16, body: &'static str) -> Option<bool> {
        let client = client_of("squ_0123456789abcdef", move |path| {
            let version = (200, "2025.1.0.1");
            let (status, body) = match path {
                "api/server/version" => version,
                _ => (status, body),
            };
            (status, "Location: /login".to_owned(), body.to_owned())
        });
        let checked = check(&client.await).await;
        assert!(checked.is_reachable && checked.problem.is_some());
        checked.is_token_valid
    }

    #[tokio::test]
    async fn a_token_is_invalid_only_if_the_server_says_so() {
        for (status, body, expected) in [
            (503, "", None),
            (302, "", None),
            (500, "", None),
            (200, "<html>", None),
            (401, "", Some(false)),
            (200, r#"{"valid":false}"#, Some(false)),
            (200, r#"{"valid":true}"#, Some(true)),
        ] {
            assert_eq!(validity(status, body).await, expected, "{status} {body}");
        }
    }
}
