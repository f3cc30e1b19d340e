//! A server of the demo organization, and the source by which it tells of its analyses.

use anyhow::Context as _;
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::source::import::ImportSettings;
use domain::source::{MAX_SOURCES, Source, SourceId, SourceKind, SourceSettings};
use domain::webhook::secret::{Secrets, WebhookSecret};
use store::sources::SourceStore;
use time::OffsetDateTime;
use uuid::Uuid;

use super::organization::PRODUCTS;
use super::project;
use crate::sonarqube::{Edition, StandIn};

/// The demo's source. It is the same after a restart, though its server is another one.
const SOURCE: SourceId = SourceId::new(Uuid::from_u128(0x6465_6d6f_0000_4000_8000_0000_0000_0001));

/// Starts a stand-in for the server that has the first product, with its latest analysis, and enters it in the organization's source. It calls the
/// API at `api_url`.
///
/// # Errors
/// The stand-in cannot be started, or the source not be stored.
pub async fn serve(
    sources: &SourceStore,
    org: OrganizationId,
    api_url: &str,
) -> anyhow::Result<StandIn> {
    let product = PRODUCTS.first().context("the demo has products")?;
    let latest = product.analyses.len() - 1;
    let token = Uuid::new_v4().simple().to_string();
    let project = project(product, latest, &product.analyses[latest]);
    let server = StandIn::start(Edition::V2025_1 { mqr: false }, &token, project).await?;
    let import = ImportSettings {
        base_url: server.url.parse()?,
        organization: None,
        token: WebhookSecret::parse_token(&token, 1)?,
        standards: Vec::new(),
        branches: Vec::new(),
        version_fallback: "date".to_owned(),
    };
    let now = timestamp(OffsetDateTime::now_utc());
    let source = match sources.get(SOURCE).await? {
        Some(source) => {
            let import = Some(import);
            let source = Source {
                revision: source.revision + 1,
                settings: SourceSettings {
                    import,
                    ..source.settings
                },
                updated_at: now,
                ..source
            };
            sources.replace(&source, None).await?;
            source
        }
        None => {
            let source = Source {
                id: SOURCE,
                org,
                revision: 1,
                kind: SourceKind::Sonarqube,
                settings: SourceSettings {
                    name: "SonarQube (demo)".to_owned(),
                    projects: Vec::new(),
                    enabled: true,
                    secrets: Secrets::new(Some(WebhookSecret::generate()?)),
                    import: Some(import),
                },
                created_at: now.clone(),
                updated_at: now,
                last_call_at: None,
            };
            sources.add(&source, MAX_SOURCES, None).await?;
            source
        }
    };
    if let Some(secret) = &source.settings.secrets.secret {
        server.enter_webhook(&format!("{api_url}/events/{SOURCE}"), secret.reveal());
    }
    Ok(server)
}
