//! What the function works with.

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

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Who has signed in.
    pub sessions: SessionStore,
    /// What lists reports, to people whose part in the organization is known already.
    pub listing: Listing,
    /// What has their files.
    pub files: Files,
    /// What the API lets administrators do.
    pub managing: Managing,
    options: IdentityOptions,
    secret: Option<ClientSecret>,
    ready: Arc<Mutex<Option<Arc<Ready>>>>,
}

/// What it takes to work for one of the issuer's clients. There is one, whose name comes with each request.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) client: String,
    pub(crate) sign_in: SignIn,
    pub(crate) identity: IdentityProvider,
    /// The API, as people of this client may call it.
    pub(crate) api: Router,
    /// What has files for people who are not to know the organization's id.
    pub(crate) anonymous: Router,
}

impl Panel {
    /// What the function works with, of these clients and by these variables. `sender` makes test calls.
    ///
    /// # Errors
    /// A variable is missing, or wrong.
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
            // Whoever comes here has a role in the organization.
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

    /// What it takes to work for this client of the issuer's.
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
        // Nothing panics while it is held.
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
