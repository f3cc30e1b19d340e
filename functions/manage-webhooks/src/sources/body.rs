//! The JSON of sources in answers.

use domain::organization::OrganizationId;
use domain::source::import::Standing;
use domain::source::{Source, SourceId, SourceKind};
use serde::Serialize;
use time::OffsetDateTime;
use web::base::BaseUrl;

use super::import::StandingBody;
use super::settings::sharing;
use crate::settings::Sharing;

#[derive(Serialize)]
pub(super) struct SourcesBody {
    pub(super) sources: Vec<SourceBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceBody {
    id: SourceId,
    organization_id: OrganizationId,
    kind: SourceKind,
    name: String,
    projects: Vec<String>,
    enabled: bool,
    /// The address to enter in the calling system.
    url: String,
    has_secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<String>,
    /// The server from which reports are imported, if any.
    #[serde(flatten)]
    server: Option<ServerBody>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_call_at: Option<String>,
    /// Set only if we made the secret, and only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The same for a kind of source with tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerBody {
    base_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    has_token: bool,
    standards: Vec<String>,
    branches: Vec<String>,
    version_fallback: String,
    import: StandingBody,
}

impl ServerBody {
    fn of(source: &Source, standing: Option<Standing>, now: OffsetDateTime) -> Option<Self> {
        let settings = source.settings.import.as_ref()?;
        Some(Self {
            base_url: settings.base_url.as_str().to_owned(),
            organization: settings.organization.clone(),
            has_token: true,
            standards: settings.standards.clone(),
            branches: settings.branches.clone(),
            version_fallback: settings.version_fallback.clone(),
            import: StandingBody::of(standing.unwrap_or_default(), source.revision, now),
        })
    }
}

impl SourceBody {
    /// A source, and the standing of its imports, if that is known.
    pub(super) fn of(
        source: &Source,
        standing: Option<Standing>,
        base: &BaseUrl,
        now: OffsetDateTime,
    ) -> Self {
        let settings = &source.settings;
        Self {
            id: source.id,
            organization_id: source.org,
            kind: source.kind,
            name: settings.name.clone(),
            projects: settings.projects.clone(),
            enabled: settings.enabled,
            url: format!("{}/events/{}", base.0, source.id),
            has_secret: settings.secrets.secret.is_some(),
            previous_secret_until: settings.secrets.previous_until(now).map(str::to_owned),
            server: ServerBody::of(source, standing, now),
            created_at: source.created_at.clone(),
            updated_at: source.updated_at.clone(),
            last_call_at: source.last_call_at.clone(),
            secret: None,
            token: None,
        }
    }

    pub(super) fn with_secret(mut self, source: &Source, is_generated: bool) -> Self {
        let secret = source.settings.secrets.secret.as_ref();
        let revealed = secret
            .filter(|_| is_generated)
            .map(|it| it.reveal().to_owned());
        match sharing(source.kind) {
            Sharing::Secret => self.secret = revealed,
            Sharing::Token => self.token = revealed,
        }
        self
    }
}
