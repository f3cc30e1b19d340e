//! A cache of an issuer's keys, so that the issuer is asked rarely and may be down for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonwebtoken::Algorithm;
use reqwest::Url;
use time::{Duration, OffsetDateTime};

use crate::error::{VerifyError, invalid};
use crate::issuer::{Issuer, Key};

/// After this time the keys are fetched again, so that a key that the issuer withdrew is refused.
const FRESH: Duration = Duration::hours(1);

/// How long the keys are used if the issuer cannot be asked for newer ones.
const USABLE: Duration = Duration::hours(24);

/// The least time between two fetches while there are keys. Otherwise anybody could cause a fetch with every request, by a
/// key id that does not exist.
const PAUSE: Duration = Duration::minutes(1);

/// The keys of an issuer. The only clock is the `now` of each call.
#[derive(Debug)]
pub(super) struct KeyCache {
    issuer: Issuer,
    known: Mutex<Known>,
    /// Held during a fetch, so that there is one at a time. Only its first request waits for it, and requests without a key.
    /// It holds the address of the keys, once the issuer has told it.
    fetching: tokio::sync::Mutex<Option<Url>>,
}

/// What is known of the keys.
#[derive(Clone, Debug, Default)]
struct Known {
    keys: Option<Keys>,
    /// When a fetch last began.
    asked_at: Option<OffsetDateTime>,
    /// How many fetches have ended, successfully or not.
    answers: u64,
    /// Why the last fetch failed, if it did.
    failure: Option<String>,
}

#[derive(Clone, Debug)]
struct Keys {
    all: Arc<[Arc<Key>]>,
    fetched_at: OffsetDateTime,
}

impl KeyCache {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The key that a token names as its signer.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: OffsetDateTime,
    ) -> Result<Arc<Key>, VerifyError> {
        let mut known = self.known().clone();
        if !known.has(kid, now) || (known.is_old(now) && known.may_ask(now)) {
            let mut jwks_uri = self.fetching.lock().await;
            // A fetch that ended in the meantime serves everybody who waited for it, even if it failed. Otherwise they would
            // wait, one after the other, for an issuer that does not answer.
            let current = self.known().clone();
            if current.answers == known.answers && current.may_ask(now) {
                self.fetch(&mut jwks_uri, now).await;
            }
            known = self.known().clone();
        }
        known.find(kid, algorithm, now)
    }

    async fn fetch(&self, jwks_uri: &mut Option<Url>, now: OffsetDateTime) {
        // This is set before the fetch, since a caller who goes away ends the fetch at any point.
        self.known().asked_at = Some(now);
        let result = self.keys(jwks_uri).await;
        let mut known = self.known();
        known.answers += 1;
        match result {
            Ok(keys) => {
                known.keys = Some(Keys {
                    all: keys.into(),
                    fetched_at: now,
                });
                known.failure = None;
            }
            Err(error) => {
                tracing::warn!("the issuer's keys could not be fetched: {error:#}");
                known.failure = Some(format!("{error:#}"));
            }
        }
    }

    async fn keys(&self, jwks_uri: &mut Option<Url>) -> anyhow::Result<Vec<Arc<Key>>> {
        // The address is taken out. If the keys are not there any more, the next fetch asks for the address again.
        let url = match jwks_uri.take() {
            Some(url) => url,
            None => self.issuer.jwks_uri().await?,
        };
        let keys = self.issuer.keys(&url).await?;
        *jwks_uri = Some(url);
        Ok(keys)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No panic can happen halfway through a change, so what a panic leaves behind is consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether there is a key that the token may mean.
    fn has(&self, kid: Option<&str>, now: OffsetDateTime) -> bool {
        self.usable(now).is_some_and(|keys| match kid {
            Some(_) => keys.all.iter().any(|key| key.id.as_deref() == kid),
            None => !keys.all.is_empty(),
        })
    }

    /// Whether the keys should be fetched again.
    fn is_old(&self, now: OffsetDateTime) -> bool {
        self.keys
            .as_ref()
            .is_none_or(|keys| now - keys.fetched_at >= FRESH)
    }

    /// Whether the issuer may be asked again yet.
    fn may_ask(&self, now: OffsetDateTime) -> bool {
        self.usable(now).is_none() || self.asked_at.is_none_or(|at| now - at >= PAUSE)
    }

    fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: OffsetDateTime,
    ) -> Result<Arc<Key>, VerifyError> {
        let unavailable = |failure: &str| VerifyError::Unavailable(anyhow::anyhow!("{failure}"));
        let keys = self.usable(now).ok_or_else(|| {
            unavailable(self.failure.as_deref().unwrap_or("there are no keys yet"))
        })?;
        let named: Vec<_> = keys
            .all
            .iter()
            .filter(|key| kid.is_none() || key.id.as_deref() == kid)
            .collect();
        match (kid, named.as_slice()) {
            (_, []) => Err(match &self.failure {
                // The key may be one that the issuer has made since.
                Some(failure) => unavailable(failure),
                None => invalid("the JWT is signed with a key that the issuer does not have"),
            }),
            (None, [_, _, ..]) => Err(invalid(
                "the JWT does not name its key by 'kid', and the issuer has several",
            )),
            (_, named) => named
                .iter()
                .find(|key| key.algorithm == algorithm)
                .map(|key| Arc::clone(key))
                .ok_or_else(|| {
                    invalid("the JWT names another algorithm than the one that its key is for")
                }),
        }
    }

    fn usable(&self, now: OffsetDateTime) -> Option<&Keys> {
        self.keys
            .as_ref()
            .filter(|keys| now - keys.fetched_at < USABLE)
    }
}
