//! Who may call the API for administrators, and what is to become of that.

use domain::organization::OrganizationId;
use domain::token::{Right, TokenSecret};
use identity::Role;
use local::DevelopmentIssuer;
use tests::system::System;
use time::{Duration, OffsetDateTime};

/// What an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    Webhooks,
    Tokens,
    Reports,
    Sources,
    Calls,
}

/// What becomes of a call: `None` is success.
pub(crate) type Verdict = Option<(u16, &'static str)>;

/// Somebody who calls with this bearer token, if any, and what is to become of it.
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    pub(crate) bearer: Option<String>,
    pub(crate) verdict: fn(Need) -> Verdict,
}

const NO_TOKEN: fn(Need) -> Verdict = |_| Some((401, "missing_token"));
const INVALID: fn(Need) -> Verdict = |_| Some((401, "invalid_token"));
const EXPIRED: fn(Need) -> Verdict = |_| Some((401, "expired_token"));
const REVOKED: fn(Need) -> Verdict = |_| Some((401, "revoked_token"));
const STRANGER: fn(Need) -> Verdict = |_| Some((404, "organization_not_found"));
const EVERYTHING: fn(Need) -> Verdict = |_| None;
const NO_RIGHT: fn(Need) -> Verdict = |_| Some((403, "insufficient_right"));

const LOW_ROLE: fn(Need) -> Verdict = |need| match need {
    Need::Read | Need::Calls => None,
    Need::Webhooks | Need::Tokens | Need::Reports | Need::Sources => {
        Some((403, "insufficient_role"))
    }
};
const RIGHT_TO_MANAGE: fn(Need) -> Verdict = |need| match need {
    Need::Read | Need::Webhooks => None,
    Need::Tokens | Need::Reports | Need::Sources | Need::Calls => Some((403, "insufficient_right")),
};
const RIGHT_TO_READ: fn(Need) -> Verdict = |need| match need {
    Need::Read | Need::Calls => None,
    Need::Webhooks | Need::Tokens | Need::Reports | Need::Sources => {
        Some((403, "insufficient_right"))
    }
};
const RIGHT_TO_MANAGE_SOURCES: fn(Need) -> Verdict = |need| match need {
    Need::Sources | Need::Calls => None,
    Need::Read | Need::Webhooks | Need::Tokens | Need::Reports => Some((403, "insufficient_right")),
};
const RIGHT_TO_DELETE: fn(Need) -> Verdict = |need| match need {
    Need::Reports => None,
    Need::Read | Need::Webhooks | Need::Tokens | Need::Sources | Need::Calls => {
        Some((403, "insufficient_right"))
    }
};
const EVERY_RIGHT: fn(Need) -> Verdict = |need| match need {
    Need::Read | Need::Webhooks | Need::Reports | Need::Sources | Need::Calls => None,
    Need::Tokens => Some((403, "insufficient_right")),
};

/// Every caller, for the organization `org`; `other` is another one.
pub(crate) async fn callers(
    system: &System,
    org: OrganizationId,
    other: OrganizationId,
) -> Vec<Caller> {
    let now = OffsetDateTime::now_utc();
    let api_url = &system.stack.api_url;
    let owner = [(org, Role::Owner)];
    let role = |role| Some(system.jwt(org, role));
    let with = async |rights: &[Right]| Some(system.token(org, rights, None).await.1);

    let expired_jwt = &system.stack.issuer;
    let expired_jwt = expired_jwt.token(&owner, now - Duration::HOUR, Duration::MINUTE);
    let forger = DevelopmentIssuer::open(api_url, None).unwrap();
    let foreigner = DevelopmentIssuer::open("http://127.0.0.1:1", None).unwrap();
    let nobody = system.stack.issuer.token(&[], now, Duration::HOUR);
    let (revoked, revoked_secret) = system.token(org, &Right::ALL, None).await;
    let tokens = &system.stack.tables.tokens;
    assert!(tokens.revoke(org, revoked.id, now).await.unwrap());
    let past = Some(now - Duration::SECOND);
    let unknown = TokenSecret::generate().unwrap();

    let caller = |name, bearer, verdict| Caller {
        name,
        bearer,
        verdict,
    };
    vec![
        caller("nobody", None, NO_TOKEN),
        caller("garbage", Some("garbage".to_owned()), INVALID),
        caller("a garbled token", Some("srt_x".to_owned()), INVALID),
        caller(
            "an unknown token",
            Some(unknown.reveal().to_owned()),
            INVALID,
        ),
        caller("an expired JWT", expired_jwt.ok(), EXPIRED),
        caller(
            "the issuer's name and another key",
            forger.token(&owner, now, Duration::HOUR).ok(),
            INVALID,
        ),
        caller(
            "another issuer",
            foreigner.token(&owner, now, Duration::HOUR).ok(),
            INVALID,
        ),
        caller("a person without roles", nobody.ok(), STRANGER),
        caller("a viewer", role(Role::Viewer), LOW_ROLE),
        caller("an editor", role(Role::Editor), LOW_ROLE),
        caller("an administrator", role(Role::Administrator), EVERYTHING),
        caller("an owner", role(Role::Owner), EVERYTHING),
        caller(
            "an administrator of another organization",
            Some(system.jwt(other, Role::Administrator)),
            STRANGER,
        ),
        caller(
            "a token that may publish",
            with(&[Right::Publish]).await,
            NO_RIGHT,
        ),
        caller(
            "a token that may manage webhooks",
            with(&[Right::ManageWebhooks]).await,
            RIGHT_TO_MANAGE,
        ),
        caller(
            "a token that may read deliveries",
            with(&[Right::ReadDeliveries]).await,
            RIGHT_TO_READ,
        ),
        caller(
            "a token that may delete reports",
            with(&[Right::DeleteReports]).await,
            RIGHT_TO_DELETE,
        ),
        caller(
            "a token that may manage sources",
            with(&[Right::ManageSources]).await,
            RIGHT_TO_MANAGE_SOURCES,
        ),
        caller(
            "a token with every right",
            with(&Right::ALL).await,
            EVERY_RIGHT,
        ),
        caller(
            "another organization's token with every right",
            Some(system.token(other, &Right::ALL, None).await.1),
            STRANGER,
        ),
        caller("a revoked token", Some(revoked_secret), REVOKED),
        caller(
            "an expired token",
            Some(system.token(org, &Right::ALL, past).await.1),
            EXPIRED,
        ),
    ]
}
