//! The stores and routers of the function.

use std::sync::{Arc, Mutex, PoisonError};

use access::Reading;
use anyhow::Context as _;
use axum::Router;
use download_files::Files;
use identity::sign_in::{ClientSecret, SignIn};
use identity::{IdentityOptions, IdentityProvider};
use list_reports::Listing;
use manage_webhooks::Managing;
use outbound::sender::Sender;
use runtime::config::Environment;
use store::sessions::SessionStore;

/// The stores and routers of the function.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The sessions.
    pub sessions: SessionStore,
    /// Lists reports, for people whose role in the organization is already checked.
    pub listing: Listing,
    /// Sends the files of reports.
    pub files: Files,
    /// The API for administrators.
    pub managing: Managing,
    options: IdentityOptions,
    secret: Option<ClientSecret>,
    ready: Arc<Mutex<Option<Arc<Ready>>>>,
}

/// What is needed for one of the issuer's clients. There is only one, and each request names it.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) client: String,
    pub(crate) sign_in: SignIn,
    pub(crate) identity: IdentityProvider,
    /// The API for people of this client.
    pub(crate) api: Router,
    /// Sends files to people who must not learn the organization's id.
    pub(crate) anonymous: Router,
}

impl Panel {
    /// The parts of the function, from these clients and variables. `sender` makes test calls.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        s3: aws_sdk_s3::config::Builder,
        sqs: aws_sdk_sqs::Client,
        sender: Sender,
    ) -> anyhow::Result<Self> {
        let sessions = environment.required("SESSIONS_TABLE")?;
        let secret = environment.required("PANEL_CLIENT_SECRET")?;
        let objects = aws_sdk_s3::Client::from_conf(s3.clone().build());
        Ok(Self {
            sessions: SessionStore::new(dynamodb.clone(), sessions),
            // Everybody who comes here has a role in the organization.
            listing: Listing {
                reading: Reading::Open,
                ..Listing::new(environment, dynamodb)?
            },
            files: Files {
                reading: Reading::Open,
                ..Files::new(environment, dynamodb, s3)?
            },
            managing: Managing::new(environment, dynamodb, objects, sqs, sender)?,
            options: IdentityOptions {
                issuer: environment.required("OIDC_ISSUER")?,
                audience: String::new(),
                roles_claim: environment.required("OIDC_ROLES_CLAIM")?,
            },
            secret: Some(secret).filter(|it| !it.is_empty()).map(ClientSecret),
            ready: Arc::default(),
        })
    }

    /// What is needed for this client of the issuer's.
    ///
    /// # Errors
    /// The stage has no client.
    pub(crate) fn ready(&self, client: Option<&str>) -> anyhow::Result<Arc<Ready>> {
        let client = client.filter(|it| !it.is_empty());
        let client = client.with_context(|| {
            format!(
                "the stage variable {} names no client",
                crate::CLIENT_VARIABLE
            )
        })?;
        // No panic can happen while the lock is held.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = ready.as_ref().filter(|it| it.client == client) {
            return Ok(Arc::clone(ready));
        }
        let made = Arc::new(self.make(client)?);
        *ready = Some(Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, client: &str) -> anyhow::Result<Ready> {
        let identity = IdentityProvider::new(IdentityOptions {
            audience: client.to_owned(),
            ..self.options.clone()
        })?;
        let managing = Managing {
            identity: identity.clone(),
            ..self.managing.clone()
        };
        let routes = Router::new()
            .merge(list_reports::router(self.listing.clone()))
            .merge(download_files::router(self.files.clone()))
            .merge(manage_webhooks::router(managing));
        Ok(Ready {
            client: client.to_owned(),
            sign_in: SignIn::new(&self.options.issuer, client, self.secret.clone())?,
            identity,
            api: web::api::service(routes),
            anonymous: web::api::service(download_files::router(Files {
                names_organization: false,
                ..self.files.clone()
            })),
        })
    }
}
