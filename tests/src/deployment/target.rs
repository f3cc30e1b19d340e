//! A deployed stack, as `infra/rehearsal` describes it, and what the tests serve to it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::date::timestamp;
use domain::organization::OrganizationId;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use local::DevelopmentIssuer;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::api::{Api, text};
use crate::receiver::Receiver;
use crate::tls;
use crate::visitor::Visitor;

/// The file that describes the stack. Without this variable the tests make systems of their own.
const VARIABLE: &str = "END_TO_END_TARGET";
/// Where an https URL without a port leads.
const HTTPS: u16 = 443;

/// A deployed stack.
pub(super) struct Target {
    api_url: String,
    issuer: DevelopmentIssuer,
    dynamodb: Client,
    webhooks_table: String,
    deliveries_table: String,
    /// Where the stack reaches this process, and by what name.
    public_address: IpAddr,
    receiver_name: String,
    tls: TlsAcceptor,
}

impl Target {
    /// The stack that the environment names, if it names one.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is rehearsed is compiled before the stack is there"
    )]
    pub(super) fn from_environment() -> Option<Self> {
        let path = PathBuf::from(std::env::var_os(VARIABLE)?);
        let file = std::fs::read(path).unwrap();
        let target: Value = serde_json::from_slice(&file).unwrap();
        let of = |name: &str| text(&target[name]);
        let public_address = of("publicAddress").parse().unwrap();
        let tls = tls::acceptor(of("certificate").as_ref(), of("privateKey").as_ref());
        let credentials = Credentials::new("rehearsal", "rehearsal", None, None, "rehearsal");
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(of("region")))
            .credentials_provider(credentials)
            .build();
        Some(Self {
            api_url: of("apiUrl"),
            issuer: issuer(&of("issuerUrl"), &of("apiUrl"), public_address, &tls),
            dynamodb: Client::from_conf(dynamodb),
            webhooks_table: of("webhooksTable"),
            deliveries_table: of("deliveriesTable"),
            public_address,
            receiver_name: of("receiverName"),
            tls,
        })
    }

    /// Its API.
    pub(super) fn api(&self) -> Api {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Api::new(&self.api_url, http, self.issuer.clone())
    }

    /// Somebody with a browser.
    pub(super) fn visitor(&self) -> Visitor {
        Visitor::at(&self.api_url)
    }

    /// Who says who somebody is.
    pub(super) fn issuer(&self) -> &DevelopmentIssuer {
        &self.issuer
    }

    /// A receiver with a public address, which is the only kind that a deployed stack calls.
    pub(super) async fn receiver(&self) -> Receiver {
        Receiver::start_with_tls(self.public_address, &self.receiver_name, self.tls.clone()).await
    }

    /// Has a server of this process answer at a public address, by TLS, and gives that.
    pub(super) async fn expose(&self, url: &str) -> String {
        let listener = TcpListener::bind((self.public_address, 0)).await.unwrap();
        let exposed = format!(
            "https://{}:{}",
            self.receiver_name,
            listener.local_addr().unwrap().port()
        );
        let (tls, inner) = (
            self.tls.clone(),
            url.trim_start_matches("http://").to_owned(),
        );
        // It ends with the test's runtime.
        tokio::spawn(async move {
            loop {
                let (outer, _) = listener.accept().await.unwrap();
                let (tls, inner) = (tls.clone(), inner.clone());
                tokio::spawn(async move {
                    // A client may break off.
                    let outer = tls.accept(outer).await;
                    if let (Ok(mut outer), Ok(mut inner)) = (outer, TcpStream::connect(inner).await)
                    {
                        let _ = copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        exposed
    }

    /// Moves back by an hour what this webhook and its deliveries wait for: time itself cannot be moved there.
    pub(super) async fn hour_passes(&self, org: OrganizationId, webhook: &str) {
        let of_webhook = self
            .dynamodb
            .query()
            .table_name(&self.deliveries_table)
            .consistent_read(true)
            .key_condition_expression("webhook = :webhook")
            .expression_attribute_values(":webhook", string(webhook));
        for item in of_webhook.send().await.unwrap().items.unwrap_or_default() {
            let key = [("webhook", string(webhook)), ("id", item["id"].clone())];
            self.move_back(&self.deliveries_table, key, "dueAt").await;
        }
        let key = [("org", string(org.to_string())), ("id", string(webhook))];
        self.move_back(&self.webhooks_table, key, "pausedUntil")
            .await;
    }

    /// Moves a time of an item back, if it has it. The stack may change it at the same moment: then once more.
    async fn move_back(&self, table: &str, key: [(&str, AttributeValue); 2], attribute: &str) {
        let key = key.map(|(name, value)| (name.to_owned(), value));
        loop {
            let get = self.dynamodb.get_item().table_name(table);
            let get = get.set_key(Some(key.clone().into())).consistent_read(true);
            let item = get.send().await.unwrap().item.unwrap();
            let Some(seen) = item.get(attribute) else {
                return;
            };
            let at = OffsetDateTime::parse(seen.as_s().unwrap(), &Rfc3339).unwrap();
            let update = self.dynamodb.update_item().table_name(table);
            let moved = update
                .set_key(Some(key.clone().into()))
                .update_expression("SET #at = :earlier")
                .condition_expression("#at = :seen")
                .expression_attribute_names("#at", attribute)
                .expression_attribute_values(":seen", seen.clone())
                .expression_attribute_values(":earlier", string(timestamp(at - Duration::HOUR)))
                .send()
                .await;
            match moved.map_err(SdkError::into_service_error) {
                Ok(_) => return,
                Err(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// The issuer that the stack believes. All tests have the same one, and it is served for as long as this process lives.
fn issuer(url: &str, api_url: &str, address: IpAddr, tls: &TlsAcceptor) -> DevelopmentIssuer {
    static ISSUER: OnceLock<DevelopmentIssuer> = OnceLock::new();
    let start = || {
        let issuer = DevelopmentIssuer::open(url, None).unwrap();
        let issuer = issuer.with_panel_at(api_url);
        let listener = std::net::TcpListener::bind((address, HTTPS)).unwrap();
        let (served, tls) = (issuer.clone(), tls.clone());
        // The runtime of a test ends with the test.
        std::thread::spawn(move || serve(&served, listener, &tls));
        issuer
    };
    ISSUER.get_or_init(start).clone()
}

#[tokio::main(flavor = "current_thread")]
async fn serve(issuer: &DevelopmentIssuer, listener: std::net::TcpListener, tls: &TlsAcceptor) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let service = TowerToHyperService::new(issuer.router());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, service) = (tls.clone(), service.clone());
        tokio::spawn(async move {
            // A client may break off.
            if let Ok(stream) = tls.accept(stream).await {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
            }
        });
    }
}
