//! The roles that a token gives.

use domain::organization::OrganizationId;
use identity::{COGNITO_GROUPS, Identity, IdentityOptions, IdentityProvider, Role};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::NOW;
use crate::support::issuer::{TestIssuer, options};
use crate::support::signing::{EC, ec_jwk, es256, header};

#[tokio::test]
async fn the_highest_role_in_each_organization_counts() {
    let [a, b, c] = [1, 2, 3].map(|n| OrganizationId::new(Uuid::from_u128(n)));
    let people = People::start().await;
    let identity = people
        .with_roles(json!([
            format!("org/{a}/viewer"),
            format!("org/{a}/owner"),
            format!("org/{a}/editor"),
            format!("org/{b}/administrator"),
        ]))
        .await;
    assert_eq!(identity.role_in(a), Some(Role::Owner));
    assert_eq!(identity.role_in(b), Some(Role::Administrator));
    assert_eq!(identity.role_in(c), None);
}

#[tokio::test]
async fn one_role_may_be_a_text() {
    let org = OrganizationId::new(Uuid::from_u128(1));
    let people = People::start().await;
    let identity = people.with_roles(json!(format!("org/{org}/editor"))).await;
    assert_eq!(identity.role_in(org), Some(Role::Editor));
}

#[tokio::test]
async fn whatever_is_not_a_role_is_ignored() {
    let people = People::start().await;
    let org = OrganizationId::new(Uuid::from_u128(1));
    for other in [
        json!("administrators"),
        json!(format!("org/{org}")),
        json!(format!("org/{org}/")),
        json!(format!("org/{org}/root")),
        json!(format!("org/{org}/Owner")),
        json!(format!("org/{org}/owner/")),
        json!(format!("org/{org}/owner ")),
        json!(format!(" org/{org}/owner")),
        json!(format!("/org/{org}/owner")),
        json!(format!("ORG/{org}/owner")),
        json!(format!("org/{}/owner", org.uuid().simple())),
        json!(format!("org/{{{org}}}/owner")),
        json!("org/*/owner"),
        json!("org//owner"),
        json!(["org", org, "owner"]),
        json!({ "org": org }),
        json!(7),
        json!(null),
    ] {
        let identity = people
            .with_roles(json!([other, format!("org/{org}/viewer")]))
            .await;
        assert_eq!(identity.role_in(org), Some(Role::Viewer), "{other}");
        assert_eq!(
            people.with_roles(other.clone()).await.role_in(org),
            None,
            "{other}"
        );
    }
}

#[tokio::test]
async fn nobody_has_a_role_without_the_claim() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let org = OrganizationId::new(Uuid::from_u128(1));
    let mut claims = issuer.claims();
    claims["groups"] = json!([format!("org/{org}/owner")]);
    let token = es256(&header("ES256", "e"), &claims);
    let identity = issuer.provider().verify(&token, NOW).await.unwrap();
    assert_eq!(identity.role_in(org), None);

    let provider = IdentityProvider::new(IdentityOptions {
        roles_claim: "groups".to_owned(),
        ..options(&issuer.url)
    });
    let identity = provider.unwrap().verify(&token, NOW).await.unwrap();
    assert_eq!(identity.role_in(org), Some(Role::Owner));
}

#[test]
fn roles_are_ordered_and_read_by_their_names() {
    assert!(Role::ALL.is_sorted());
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert!("root".parse::<Role>().is_err());
}

#[test]
fn any_claim_is_read() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let people = runtime.block_on(People::start());
    let text = "(org/)?(00000000-0000-0000-0000-00000000000[12]|.{0,8})/?(viewer|owner|.{0,8})/?";
    let claims = (proptest::collection::vec(text, 0..4), any::<bool>());
    TestRunner::default()
        .run(&claims, |(texts, alone)| {
            let claim = match texts.as_slice() {
                [text] if alone => json!(text),
                texts => json!(texts),
            };
            let identity = runtime.block_on(people.with_roles(claim));
            for n in 1..=2 {
                let org = OrganizationId::new(Uuid::from_u128(n));
                let has = |role| {
                    texts
                        .iter()
                        .any(|text| *text == format!("org/{org}/{role}"))
                };
                let expected = Role::ALL.into_iter().rev().find(|role| has(*role));
                prop_assert_eq!(identity.role_in(org), expected);
            }
            Ok(())
        })
        .unwrap();
}

/// People of one issuer, whose keys are fetched once.
struct People {
    issuer: TestIssuer,
    provider: IdentityProvider,
}

impl People {
    async fn start() -> Self {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        Self { issuer, provider }
    }

    async fn with_roles(&self, claim: Value) -> Identity {
        let mut claims = self.issuer.claims();
        claims[COGNITO_GROUPS] = claim;
        let token = es256(&header("ES256", "e"), &claims);
        self.provider.verify(&token, NOW).await.unwrap()
    }
}
