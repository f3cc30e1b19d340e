//! Where the end-to-end tests run: a system of the test's own, or a stack that is deployed somewhere. Either is used as by
//! people outside: through its API, and through what its receivers get.

mod target;

use std::future::Future;
use std::ops::Deref;
use std::sync::Mutex;
use std::time::Duration;

use domain::organization::OrganizationId;
use domain::token::{Right, TokenSecret};
use identity::Role;
use local::client::{File, Publisher};
use local::sonarqube::{Project, StandIn};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::api::{Api, text};
use crate::deployment::target::Target;
use crate::receiver::{Received, Receiver};
use crate::server::{EDITION, TOKEN};
use crate::source::Source;
use crate::system::System;
use crate::visitor::Visitor;

/// How long a test waits for what a deployed stack does by itself, most of all for a round: they are a minute apart.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it asks meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A system for end-to-end tests. On a deployed one they are not alone, so each has an organization of its own.
pub struct Deployment {
    api: Api,
    place: Place,
}

enum Place {
    /// In this process, and how far its time is ahead.
    Local(Box<System>, Mutex<time::Duration>),
    Deployed(Box<Target>),
}

impl Deployment {
    /// The system to test: the one that the environment names, or else one of the test's own.
    pub async fn open() -> Self {
        if let Some(target) = Target::from_environment() {
            return Self {
                api: target.api(),
                place: Place::Deployed(Box::new(target)),
            };
        }
        let system = System::start_hasty().await;
        Self {
            api: Api::clone(&system),
            place: Place::Local(Box::new(system), Mutex::default()),
        }
    }

    /// Somebody who has signed in to the panel.
    pub async fn visitor(&self, role: &str) -> Visitor {
        let (visitor, issuer) = match &self.place {
            Place::Local(system, _) => (Visitor::stranger(system), &system.stack.issuer),
            Place::Deployed(target) => (target.visitor(), target.issuer()),
        };
        // The link leads on to the panel, by whatever it calls itself.
        let entered = visitor.get(&issuer.enter_url()).await;
        assert!(entered.location().ends_with("/panel/"), "{entered:?}");
        let seen = visitor.sign_in("", role).await;
        assert_eq!(seen.status, StatusCode::SEE_OTHER, "{seen:?}");
        visitor
    }

    /// A receiver that the system can reach.
    pub async fn receiver(&self) -> Receiver {
        match &self.place {
            Place::Local(..) => Receiver::start().await,
            Place::Deployed(target) => target.receiver().await,
        }
    }

    /// A server of `SonarQube` with this project, and the address at which the system can reach it.
    pub async fn server(&self, project: Project) -> (StandIn, String) {
        let server = StandIn::start(EDITION, TOKEN, project).await.unwrap();
        let url = match &self.place {
            Place::Local(..) => server.url.clone(),
            Place::Deployed(target) => target.expose(&server.url).await,
        };
        (server, url)
    }

    /// What became of the newest call of a source, as soon as that is known.
    pub async fn imported(&self, org: OrganizationId, source: &Source) -> Value {
        let ask = async || {
            if let Place::Local(system, ahead) = &self.place {
                system.stack.import(now(ahead)).await.unwrap();
            }
            let calls = source.calls(&self.api, org).await;
            let import = calls.first()?["import"].clone();
            (import["state"] != "pending").then_some(import)
        };
        eventually("reports are made of a call", ask).await
    }

    /// Makes a token as an owner of the organization does.
    pub async fn token(&self, org: OrganizationId, rights: &[Right]) -> String {
        let rights: Vec<_> = rights.iter().map(|right| right.as_str()).collect();
        let token = json!({"name": "test", "rights": rights});
        let owner = self.jwt(org, Role::Owner);
        let path = format!("/organizations/{org}/tokens");
        let reply = self.call("POST", &path, &owner, Some(token)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        text(&reply.json()["token"])
    }

    /// A publisher with a new token of the organization.
    pub async fn publisher(&self, org: OrganizationId) -> Publisher {
        let token = self.token(org, &[Right::Publish]).await;
        let token = TokenSecret::parse(&token).unwrap();
        Publisher::through(self.http().clone(), &self.url(""), token)
    }

    /// Publishes a report, and gives the answer to the last step.
    pub async fn publish(&self, org: OrganizationId, metadata: &Value, files: &[File]) -> Value {
        let publisher = self.publisher(org).await;
        publisher.publish(metadata, files).await.unwrap()
    }

    /// What a receiver gets of what has happened, as soon as it is at least so many requests; it forgets them.
    pub async fn told(&self, receiver: &Receiver, count: usize) -> Vec<Received> {
        self.deliver().await;
        receiver.wait(count, PATIENCE).await;
        receiver.take()
    }

    /// Lets an hour pass for what waits for this webhook's receiver. Then comes a round.
    pub async fn hour_passes(&self, org: OrganizationId, webhook: &Value) {
        match &self.place {
            Place::Local(system, ahead) => {
                *ahead.lock().unwrap() += time::Duration::HOUR;
                system.round(now(ahead)).await;
            }
            Place::Deployed(target) => target.hour_passes(org, &text(webhook)).await,
        }
    }

    /// A webhook's deliveries, the newest first, as soon as they are in these states.
    pub async fn settled(
        &self,
        org: OrganizationId,
        webhook: &Value,
        states: &[&str],
    ) -> Vec<Value> {
        self.deliver().await;
        let ask = async || {
            let deliveries = self.deliveries(org, webhook).await;
            let are = deliveries.iter().map(|delivery| text(&delivery["state"]));
            are.eq(states.iter().copied()).then_some(deliveries)
        };
        eventually(&format!("deliveries are {states:?}"), ask).await
    }

    /// A webhook, as soon as it is disabled: that is noted after the delivery for which it is.
    pub async fn disabled(&self, org: OrganizationId, webhook: &Value) -> Value {
        let ask = async || {
            let webhook = self.webhook_now(org, webhook).await;
            (webhook["enabled"] == false).then_some(webhook)
        };
        eventually("the webhook is disabled", ask).await
    }

    /// A deployed stack delivers by itself.
    async fn deliver(&self) {
        if let Place::Local(system, ahead) = &self.place {
            system.deliver(now(ahead)).await;
        }
    }
}

fn now(ahead: &Mutex<time::Duration>) -> OffsetDateTime {
    OffsetDateTime::now_utc() + *ahead.lock().unwrap()
}

impl Deref for Deployment {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Asks until there is an answer: a stack that delivers by itself takes its time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let answer = async {
        let mut tick = tokio::time::interval(ASK_EVERY);
        loop {
            tick.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {PATIENCE:?} for this: {what}"),
    }
}
