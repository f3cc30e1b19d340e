//! What is read of a server of SonarQube, of every kind of server that there is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use domain::report::{QualityGateStatus, Rating};
use findings::{
    Assessment, Block, Counts, Mode, Printed, Probability, Resolution, Review, Reviews, Severity,
    Standard,
};
use local::sonarqube::{
    Analysis, Asked, Branch, Edition, FoundHotspot, FoundIssue, KnownRule, Project, StandIn,
    Status, error,
};
use serde_json::json;
use sonarqube::{Client, Connection, Error, Patience, Request, Token, VersionFallback, pull};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const TOKEN: &str = "squ_0123456789abcdef";
const KEY: &str = "acme:shop";

const EDITIONS: [Edition; 7] = [
    Edition::V9_9,
    Edition::V10_4,
    Edition::V2025_1 { mqr: false },
    Edition::V2025_1 { mqr: true },
    Edition::V2026_3 { mqr: false },
    Edition::V2026_3 { mqr: true },
    Edition::Cloud,
];

const PATIENCE: Patience = Patience {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    requests: 4,
    answer: Duration::from_secs(60),
};

fn rule(key: &str, cwe: &[&str], owasp: &[&str]) -> KnownRule {
    let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    KnownRule {
        key: key.to_owned(),
        name: format!("Name of {key}"),
        html: "<p>Do <b>not</b>.</p>".to_owned(),
        finds_hotspots: false,
        is_smell: false,
        is_active: true,
        language: "java",
        cwe: texts(cwe),
        owasp: texts(owasp),
    }
}

fn issue(number: usize, rule: &str, severity: Severity, status: Status) -> FoundIssue {
    FoundIssue {
        key: format!("issue-{number:05}"),
        rule: rule.to_owned(),
        path: format!("src/file{:03}.java", number % 200),
        line: 1 + number as u32 / 200,
        message: format!("message {number}"),
        severity: Some(severity),
        impact: Some(severity),
        status,
        created: "2026-01-31T17:55:39+0200".to_owned(),
        comment: (status == Status::Accepted).then(|| "we know".to_owned()),
    }
}

fn hotspot(number: usize, review: Review) -> FoundHotspot {
    FoundHotspot {
        key: format!("hotspot-{number}"),
        rule: "java:hotspot".to_owned(),
        path: "src/Spot.java".to_owned(),
        line: number as u32,
        message: "look".to_owned(),
        probability: Probability::Medium,
        review,
        created: "2026-02-01T00:00:00+0000".to_owned(),
        comment: (review == Review::Safe).then(|| "looked at".to_owned()),
    }
}

fn analysis(key: &str, version: &str) -> Analysis {
    Analysis {
        key: key.to_owned(),
        date: "2026-03-05T10:51:17+0100".to_owned(),
        version: version.to_owned(),
        revision: Some("c0ffee".to_owned()),
        build: Some("1287".to_owned()),
    }
}

/// A project with something of everything.
fn project() -> Project {
    let inactive = KnownRule {
        is_active: false,
        ..rule("java:inactive", &["787"], &["a4"])
    };
    let finds_hotspots = KnownRule {
        finds_hotspots: true,
        ..rule("java:hotspot", &["352"], &["a1"])
    };
    let other = rule("java:other", &["1"], &[]);
    // No vulnerability, but with an impact on security: it counts in one mode only.
    let smell = KnownRule {
        is_smell: true,
        ..rule("java:smell", &["22"], &["a5"])
    };
    // Of a language that the project does not have.
    let foreign = KnownRule {
        language: "cobol",
        ..rule("cobol:S1", &["416"], &["a9"])
    };
    let issues = vec![
        issue(0, "java:two", Severity::High, Status::Open),
        issue(1, "java:xss", Severity::Low, Status::Confirmed),
        issue(2, "java:xss", Severity::Info, Status::Open),
        issue(3, "java:other", Severity::Blocker, Status::Open),
        issue(4, "java:xss", Severity::Blocker, Status::Accepted),
        issue(5, "java:xss", Severity::Blocker, Status::FalsePositive),
        issue(6, "java:xss", Severity::Blocker, Status::Fixed),
        FoundIssue {
            severity: None,
            ..issue(7, "java:smell", Severity::Medium, Status::Open)
        },
        // A vulnerability that its administrator has taken the impact from.
        FoundIssue {
            impact: None,
            ..issue(8, "java:two", Severity::Low, Status::Open)
        },
    ];
    let hotspots = vec![
        hotspot(1, Review::ToReview),
        hotspot(2, Review::Safe),
        hotspot(3, Review::Fixed),
        hotspot(4, Review::Acknowledged),
    ];
    let branch = |name: &str, issues: Vec<FoundIssue>, hotspots: &[FoundHotspot]| Branch {
        name: name.to_owned(),
        analyses: vec![
            analysis(&format!("{name}-2"), "1.1"),
            analysis(&format!("{name}-1"), "1.0"),
        ],
        gate: Some("ERROR"),
        issues,
        hotspots: hotspots.to_vec(),
    };
    Project {
        key: KEY.to_owned(),
        name: "Shop".to_owned(),
        is_visible: true,
        branches: vec![
            branch("trunk", issues, &hotspots),
            branch("release/1.x", Vec::new(), &hotspots[..1]),
        ],
        rules: vec![
            rule("java:xss", &["79"], &["a3"]),
            // In two categories of each standard.
            rule("java:two", &["79", "89"], &["a3", "a1"]),
            inactive,
            finds_hotspots,
            other,
            smell,
            foreign,
        ],
    }
}

fn connection(url: &str, edition: Edition) -> Connection {
    Connection {
        url: url.to_owned(),
        token: Token::new(TOKEN).unwrap(),
        organization: (edition == Edition::Cloud).then(|| "acme".to_owned()),
        through_proxy: false,
        patience: PATIENCE,
    }
}

fn request(standards: &[&str]) -> Request {
    Request {
        project: KEY.to_owned(),
        branch: None,
        standards: standards.iter().map(|id| id.parse().unwrap()).collect(),
        fallback: VersionFallback::Refuse,
        properties: BTreeMap::new(),
        analysis: None,
        printed: Printed::DEFAULT,
    }
}

async fn start(edition: Edition, project: Project) -> (StandIn, Client) {
    let server = StandIn::start(edition, TOKEN, project).await.unwrap();
    let client = Client::new(connection(&server.url, edition)).unwrap();
    (server, client)
}

async fn read(client: &Client, request: &Request) -> Result<Vec<Assessment>, Error> {
    pull(client, request, &|_, _, _| {})
        .await
        .map(|it| it.assessments)
}

async fn read_of(project: Project, request: &Request) -> Result<Vec<Assessment>, Error> {
    let (_server, client) = start(Edition::V2025_1 { mqr: false }, project).await;
    read(&client, request).await
}

fn counts(of: [u64; 5]) -> Counts {
    let mut counts = Counts::default();
    for (severity, count) in Severity::ALL.into_iter().zip(of) {
        counts.add(severity, count);
    }
    counts
}

#[tokio::test]
async fn every_server_tells_the_same() {
    let standards = ["cwe-top-25-2024", "owasp-top-10-2021"];
    for edition in EDITIONS {
        let (server, client) = start(edition, project()).await;
        let read_twice = [
            read(&client, &request(&standards)).await,
            read(&client, &request(&standards)).await,
        ];
        let [assessments, again] =
            read_twice.map(|it| it.unwrap_or_else(|error| panic!("{edition:?}: {error}")));
        assert_eq!(assessments, again);
        let is_mqr = edition.is_mqr();
        for assessment in &assessments {
            let subject = &assessment.subject;
            assert_eq!(subject.mode == Mode::Mqr, is_mqr, "{edition:?}");
            assert_eq!(subject.branch, "trunk");
            assert_eq!(subject.project_name, "Shop");
            assert_eq!(subject.version.as_str(), "1.1");
            assert_eq!(subject.unusable_version, None);
            assert_eq!(subject.analysis.key, "trunk-2");
            assert_eq!(subject.analysis.revision.as_deref(), Some("c0ffee"));
            assert_eq!(subject.server.url, server.url);
            assert_eq!(subject.server.version.is_none(), edition == Edition::Cloud);
            assert_eq!(
                subject.project_url,
                format!("{}/dashboard?id=acme%3Ashop", server.url)
            );
            let gate = subject.gate.as_ref().unwrap();
            assert_eq!(gate.status, QualityGateStatus::Error);
            assert_eq!(gate.failed.len(), 1);
            assert_eq!(subject.measures.open, Some(5));
            assert_eq!(subject.measures.security_rating, Some(Rating::E));
            assert_eq!(subject.measures.lines, Some(48210));

            // One issue is in two categories, and one in none.
            let open = if is_mqr {
                [0, 1, 1, 1, 1]
            } else {
                [0, 1, 0, 2, 1]
            };
            assert_eq!(assessment.open, counts(open), "{edition:?}");
            assert_eq!(assessment.occurrences(), if is_mqr { 5 } else { 6 });
            assert_eq!(assessment.rating(), Rating::D);
            assert_eq!((assessment.accepted, assessment.false_positives), (1, 1));
            let reviews = Reviews {
                to_review: 1,
                acknowledged: 1,
                fixed: 1,
                safe: 1,
            };
            assert_eq!(assessment.hotspots, reviews);
            let rule = &assessment.rules["java:xss"];
            assert_eq!(rule.name, "Name of java:xss");
            let why = Block::Paragraph("Do not.".to_owned());
            assert!(rule.text.contains(&why), "{rule:?}");
            assert!(!assessment.rules.contains_key("java:other"));
        }

        let category = |id: &str| {
            let mut all = assessments.iter().flat_map(Assessment::by_category);
            all.find(|(standard, _)| standard.id == id).unwrap().1
        };
        let xss = category("CWE-79");
        assert_eq!(
            xss.open,
            counts(if is_mqr {
                [0, 1, 0, 1, 1]
            } else {
                [0, 1, 0, 2, 1]
            })
        );
        assert_eq!(xss.active_rules, Some(2));
        let listed: Vec<_> = xss
            .vulnerabilities
            .iter()
            .map(|it| (it.finding.key.as_str(), it.severity))
            .collect();
        let mut expected = vec![
            ("issue-00000", Severity::High),
            ("issue-00001", Severity::Low),
            ("issue-00002", Severity::Info),
        ];
        if !is_mqr {
            expected.insert(1, ("issue-00008", Severity::Low));
        }
        assert_eq!(listed, expected);
        let traversal = category("CWE-22");
        assert_eq!(traversal.open.total(), u64::from(is_mqr));
        assert_eq!(traversal.active_rules, Some(u64::from(is_mqr)));
        assert_eq!(
            category("CWE-416").active_rules,
            Some(0),
            "of another language"
        );
        let first = &xss.vulnerabilities[0].finding;
        assert_eq!(
            (first.path.as_str(), first.line),
            ("src/file000.java", Some(1))
        );
        assert_eq!(first.found, "2026-01-31");
        assert!(
            first
                .url
                .ends_with("/project/issues?id=acme%3Ashop&issues=issue-00000&open=issue-00000")
        );
        let dismissed: Vec<_> = xss
            .dismissed
            .iter()
            .map(|it| (it.resolution.unwrap(), it.finding.comment.as_deref()))
            .collect();
        assert_eq!(
            dismissed,
            [
                (Resolution::Accepted, Some("we know")),
                (Resolution::FalsePositive, None)
            ]
        );
        assert_eq!(category("CWE-787").active_rules, Some(0));
        assert_eq!(category("CWE-787").rating(), None, "nothing looks for it");
        let said: Vec<_> = category("A01:2021")
            .listed_hotspots
            .iter()
            .map(|it| (it.review, it.finding.comment.as_deref()))
            .collect();
        let expected = [
            (Review::ToReview, None),
            (Review::Acknowledged, None),
            (Review::Fixed, None),
            (Review::Safe, Some("looked at")),
        ];
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn a_branch_is_asked_for_by_name_unless_it_is_the_main_one() {
    for edition in EDITIONS {
        let (server, client) = start(edition, project()).await;
        let mut request = request(&["cwe-top-25-2025"]);
        read(&client, &request).await.unwrap();
        assert!(
            server
                .asked()
                .iter()
                .all(|asked| asked.parameter("branch").is_none())
        );
        request.branch = Some("release/1.x".to_owned());
        let assessments = read(&client, &request).await.unwrap();
        let subject = &assessments[0].subject;
        assert_eq!(subject.analysis.key, "release/1.x-2");
        assert!(
            subject
                .project_url
                .ends_with("?id=acme%3Ashop&branch=release%2F1.x")
        );
        assert_eq!(assessments[0].open.total(), 0);
        assert_eq!(assessments[0].hotspots.total(), 1);
        request.branch = Some("gone".to_owned());
        let error = read(&client, &request).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the project has no branch 'gone'; there are trunk, release/1.x"
        );
    }
}

#[tokio::test]
async fn where_nothing_is_little_is_asked() {
    let mut empty = project();
    empty.branches[0].issues.clear();
    empty.branches[0].hotspots.clear();
    let (server, client) = start(Edition::V2025_1 { mqr: false }, empty).await;
    let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    assert_eq!(assessments[0].open.total(), 0);
    assert_eq!(assessments[0].rating(), Rating::A);
    let asked = |path: &str| server.asked().iter().filter(|it| it.path == path).count();
    assert_eq!(asked("api/issues/search"), 3, "open, dismissed, sandboxed");
    assert_eq!(asked("api/hotspots/search"), 1);
    assert_eq!(asked("api/rules/show"), 0);
}

#[tokio::test]
async fn counts_are_exact_whatever_their_size() {
    // More than a search shows, all of one rule and one category.
    const MANY: usize = 10_700;
    for edition in [Edition::V9_9, Edition::V2026_3 { mqr: true }] {
        let mut large = project();
        let severity = |number: usize| Severity::ALL[4 - number % 4];
        let open =
            (0..MANY).map(|number| issue(number, "java:xss", severity(number), Status::Open));
        let sandbox = (MANY..MANY + 3)
            .map(|number| issue(number, "java:xss", Severity::Blocker, Status::InSandbox));
        large.branches[0].issues = open.collect();
        let has_sandbox = edition != Edition::V9_9;
        if has_sandbox {
            large.branches[0].issues.extend(sandbox);
        }
        large.branches[0].hotspots = (0..10_100)
            .map(|number| hotspot(number, Review::Fixed))
            .collect();
        let (_server, client) = start(edition, large).await;
        let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
        let assessment = &assessments[0];
        let quarter = MANY as u64 / 4;
        assert_eq!(
            assessment.open,
            counts([0, quarter, quarter, quarter, quarter]),
            "{edition:?}"
        );
        assert_eq!(assessment.hotspots.fixed, 10_100);
        assert_eq!(assessment.sandboxed, has_sandbox.then_some(3));
        let listed: Vec<_> = assessment
            .categories
            .iter()
            .flat_map(|it| &it.vulnerabilities)
            .collect();
        assert_eq!(listed.len(), Printed::DEFAULT.open);
        assert!(
            listed.iter().all(|it| it.severity == Severity::High),
            "the worst"
        );
        let hotspots = assessment
            .categories
            .iter()
            .map(|it| it.listed_hotspots.len());
        assert_eq!(hotspots.sum::<usize>(), Printed::DEFAULT.others);
    }
}

#[tokio::test]
async fn what_takes_several_pages_is_read_to_its_end() {
    let mut paged = project();
    paged.branches[0].issues = (0..1_234)
        .map(|number| issue(number, "java:xss", Severity::Medium, Status::Open))
        .collect();
    let assessments = read_of(paged, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap();
    assert_eq!(assessments[0].open.total(), 1_234);
    assert_eq!(assessments[0].categories[0].vulnerabilities.len(), 1_234);
}

#[tokio::test]
async fn a_version_that_is_none_is_replaced_as_it_was_asked_for() {
    let mut unnamed = project();
    unnamed.branches[0].analyses[0].version = "not provided".to_owned();
    let mut request = request(&["owasp-top-10-2021"]);
    let refused = read_of(unnamed.clone(), &request).await.unwrap_err();
    assert!(refused.to_string().contains("'not provided'"), "{refused}");
    request.fallback = VersionFallback::Date;
    let assessments = read_of(unnamed, &request).await.unwrap();
    let subject = &assessments[0].subject;
    assert_eq!(subject.version.as_str(), "2026.3.5");
    assert_eq!(subject.unusable_version.as_deref(), Some("not provided"));
}

/// Answers only the first requests for a path as it should.
fn after(
    path: &'static str,
    good: usize,
    mut bad: impl FnMut() -> Response<Body> + Send + 'static,
) -> impl FnMut(&Asked, &mut Project) -> Option<Response<Body>> + Send + 'static {
    let mut asked = 0;
    move |request, _| {
        if request.path != path {
            return None;
        }
        asked += 1;
        (asked > good).then(&mut bad)
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_not_for_ever() {
    let requests = [request(&["cwe-top-25-2024"])];
    for status in [429, 502, 503, 504] {
        let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
        let mut left = 3;
        server.trouble(move |asked, _| {
            let is_busy = asked.path == "api/issues/search" && left > 0;
            left -= usize::from(is_busy);
            is_busy.then(|| error(status, "Indexing"))
        });
        assert!(read(&client, &requests[0]).await.is_ok(), "{status}");
        server.trouble(move |asked, _| {
            (asked.path == "api/issues/search").then(|| error(status, ""))
        });
        let busy = read(&client, &requests[0]).await.unwrap_err();
        assert!(
            matches!(&busy, Error::Busy { status: of, .. } if *of == status),
            "{busy}"
        );
    }
}

#[tokio::test]
async fn a_longer_pause_of_the_servers_own_is_kept_up_to_a_limit() {
    // An hour is not waited for: the longest pause is 4 ms here.
    for (after, longer) in [
        ("3600", Some(4)),
        ("Thu, 31 Dec 2099 23:59:59 GMT", Some(4)),
        ("0", None),
        ("soon", None),
    ] {
        let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
        server.trouble(move |_, _| {
            let response = Response::builder().status(429).header("retry-after", after);
            Some(response.body(Body::empty()).unwrap())
        });
        let busy = read(&client, &request(&["cwe-top-25-2024"])).await;
        let Err(Error::Busy { waited, .. }) = busy else {
            panic!("{after}: {busy:?}");
        };
        // Three pauses before the fourth request, which double where the server wants nothing.
        let expected = longer.map_or(1 + 2 + 4, |longer| 3 * longer);
        assert_eq!(waited, Duration::from_millis(expected), "{after}");
    }
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    type Case = (
        &'static str,
        u16,
        &'static str,
        fn(&Error) -> bool,
        &'static str,
    );
    let cases: [Case; 5] = [
        (
            "api/issues/search",
            401,
            "",
            |it| matches!(it, Error::Unauthorized),
            "make another one",
        ),
        (
            "api/issues/search",
            403,
            "Insufficient privileges",
            |it| matches!(it, Error::Forbidden { .. }),
            "permission 'Browse'",
        ),
        (
            "api/project_branches/list",
            404,
            "Project 'acme:shop' not found",
            |it| matches!(it, Error::NotFound { .. }),
            "check the key",
        ),
        (
            "api/issues/search",
            400,
            "Something else",
            |it| matches!(it, Error::BadRequest { .. }),
            "Something else",
        ),
        (
            "api/hotspots/search",
            500,
            "An error has occurred",
            |it| matches!(it, Error::Failed { .. }),
            "An error has occurred",
        ),
    ];
    for (path, status, message, is_expected, says) in cases {
        let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
        // Half-way.
        server.trouble(after(path, 0, move || error(status, message)));
        let refused = read(&client, &request(&["cwe-top-25-2024"]))
            .await
            .unwrap_err();
        assert!(is_expected(&refused), "{status}: {refused:?}");
        let text = refused.to_string();
        assert!(text.contains(says), "{text}");
        assert!(!format!("{text} {refused:?} {client:?}").contains(TOKEN));
    }
}

/// Serves requests as `answer` does.
async fn serving<F: Future<Output = Response<Body>> + Send + 'static>(
    answer: impl Fn(axum::extract::Request) -> F + Clone + Send + Sync + 'static,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, task)
}

#[tokio::test]
async fn a_server_that_knows_no_bearer_is_asked_as_a_user() {
    // It wants everybody to be somebody, also who asks for its version.
    let answer = async |request: axum::extract::Request| {
        let given = request.headers().get("authorization").cloned();
        let given = given.unwrap_or_else(|| "".parse().unwrap());
        match given.to_str().unwrap().starts_with("Basic ") {
            true if request.uri().path() == "/api/server/version" => {
                Response::new(Body::from("10.4.1.88267"))
            }
            true => error(404, "Project not found"),
            false => Response::builder().status(401).body(Body::empty()).unwrap(),
        }
    };
    let (url, _serving) = serving(answer).await;
    let client = Client::new(connection(&url, Edition::V10_4)).unwrap();
    let known = read(&client, &request(&["cwe-top-25-2024"])).await;
    assert!(matches!(known, Err(Error::NotFound { .. })), "{known:?}");
}

#[tokio::test]
async fn a_server_is_asked_two_things_at_a_time() {
    let server = StandIn::start(Edition::V2025_1 { mqr: false }, TOKEN, project());
    let server = server.await.unwrap();
    let (behind, now, most) = (
        server.url.clone(),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let seen = Arc::clone(&most);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = move |request: axum::extract::Request| {
        let (behind, now, most, http) = (behind.clone(), now.clone(), most.clone(), http.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Whoever would come too comes now.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let answer = http
                .get(format!("{behind}{}", request.uri()))
                .headers(request.headers().clone())
                .send();
            let answer = answer.await.unwrap();
            let (status, body) = (answer.status(), answer.bytes().await.unwrap());
            now.fetch_sub(1, Ordering::SeqCst);
            Response::builder()
                .status(status.as_u16())
                .body(Body::from(body))
                .unwrap()
        }
    };
    let (url, _serving) = serving(answer).await;
    let client = Client::new(connection(&url, Edition::V2025_1 { mqr: false })).unwrap();
    read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_is_revoked_halfway_gives_nothing() {
    let (server, client) = start(Edition::V9_9, project()).await;
    let mut asked = 0;
    server.trouble(move |_, _| {
        asked += 1;
        (asked > 20).then(|| Response::builder().status(401).body(Body::empty()).unwrap())
    });
    let refused = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unauthorized));
}

#[tokio::test]
async fn a_wrong_token_is_told_apart() {
    for edition in EDITIONS {
        let server = StandIn::start(edition, "squ_another", project())
            .await
            .unwrap();
        let client = Client::new(connection(&server.url, edition)).unwrap();
        let refused = read(&client, &request(&["cwe-top-25-2024"]))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Unauthorized),
            "{edition:?}: {refused}"
        );
    }
    for wrong in ["", " ", "squ_a b", "squ_ä", "squ_a\nb"] {
        assert!(
            matches!(Token::new(wrong), Err(Error::InvalidToken)),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn an_analysis_that_is_made_meanwhile_is_read_from_its_beginning() {
    let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
    let mut is_made = false;
    server.trouble(move |asked, project| {
        if asked.path == "api/hotspots/search" && !std::mem::replace(&mut is_made, true) {
            let branch = &mut project.branches[0];
            branch.analyses.insert(0, analysis("trunk-3", "1.2"));
            branch.issues.truncate(1);
        }
        None
    });
    let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    assert_eq!(assessments[0].subject.version.as_str(), "1.2");
    assert_eq!(assessments[0].open.total(), 1);

    let mut made = 3;
    server.trouble(move |asked, project| {
        if asked.path == "api/project_branches/list" || asked.path == "api/hotspots/search" {
            made += 1;
            let analyses = &mut project.branches[0].analyses;
            analyses.insert(0, analysis(&format!("trunk-{made}"), "1.3"));
        }
        None
    });
    let superseded = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(matches!(superseded, Error::Superseded(_)), "{superseded}");
}

#[tokio::test]
async fn issues_that_change_between_two_pages_are_read_again() {
    let mut paged = project();
    paged.branches[0].issues = (0..700)
        .map(|number| issue(number, "java:xss", Severity::Medium, Status::Open))
        .collect();
    for is_lasting in [false, true] {
        let (server, client) = start(Edition::V2025_1 { mqr: false }, paged.clone()).await;
        let mut is_changed = false;
        server.trouble(move |asked, project| {
            if asked.parameter("p") == Some("2") && (is_lasting || !is_changed) {
                is_changed = true;
                // What was on the second page is on the first now.
                project.branches[0].issues.remove(0);
            }
            None
        });
        let read = read(&client, &request(&["cwe-top-25-2024"])).await;
        match is_lasting {
            false => assert_eq!(read.unwrap()[0].open.total(), 699),
            true => assert!(matches!(read, Err(Error::Unsteady(_))), "{read:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_has_only_the_new_names_of_parameters_is_understood() {
    let (server, client) = start(Edition::V2026_3 { mqr: false }, project()).await;
    server.trouble(|asked, _| match asked.path.as_str() {
        "api/issues/search" if asked.parameter("componentKeys").is_some() => Some(error(
            400,
            "At least one of 'components', 'projects' is required",
        )),
        "api/hotspots/search" if asked.parameter("projectKey").is_some() => Some(error(
            400,
            "A value must be provided for either parameter 'project' or parameter 'hotspots'",
        )),
        _ => None,
    });
    let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    assert_eq!(assessments[0].open.total(), 4);
}

#[tokio::test]
async fn issues_of_other_projects_are_never_taken() {
    // What a server answers that ignores the parameter.
    let others = json!({"paging": {"pageIndex": 1, "pageSize": 500, "total": 1}, "issues": [{
        "key": "x", "rule": "java:xss", "component": "other:src/A.java", "project": "other", "severity": "BLOCKER",
    }]});
    let (server, client) = start(Edition::V2026_3 { mqr: false }, project()).await;
    server.trouble(move |asked, _| {
        let body = others.to_string();
        // Only to the search for open ones: the other would be refused for their state.
        let is_for_open = asked.parameter("issueStatuses") == Some("OPEN,CONFIRMED");
        is_for_open.then(|| Response::new(Body::from(body)))
    });
    let refused = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("other projects"), "{refused}");
}

#[tokio::test]
async fn what_a_server_does_not_tell_is_unknown_and_no_error() {
    let (server, client) = start(Edition::V9_9, project()).await;
    server.trouble(|asked, _| match asked.path.as_str() {
        "api/rules/search" | "api/qualitygates/project_status" => {
            Some(error(403, "Insufficient privileges"))
        }
        "api/rules/show" => Some(error(404, "Rule not found")),
        _ => None,
    });
    let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    assert_eq!(assessments[0].subject.gate, None);
    assert_eq!(assessments[0].categories[0].active_rules, None);
    assert_eq!(assessments[0].categories[1].rating(), Some(Rating::A));
    assert_eq!(assessments[0].rules["java:xss"].name, "java:xss");
}

#[tokio::test]
async fn neither_a_redirect_nor_a_login_page_is_followed() {
    let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
    server.trouble(|asked, _| {
        let moved = || {
            Response::builder()
                .status(302)
                .header("location", "https://sso.example/login")
        };
        (asked.path == "api/issues/search").then(|| moved().body(Body::empty()).unwrap())
    });
    let redirected = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(
        redirected.to_string().contains("https://sso.example/login"),
        "{redirected}"
    );
    server.trouble(|_, _| Some(Response::new(Body::from("<html>Log in</html>"))));
    let malformed = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(malformed.to_string().contains("login page"), "{malformed}");
}

#[tokio::test]
async fn a_server_that_trickles_or_is_not_there_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let trickling = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 1024]).await;
                let _ = socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
                    .await;
                // As long as anybody reads.
                while socket.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
    });
    let client = |url: String| {
        let mut connection = connection(&url, Edition::V9_9);
        connection.patience.answer = Duration::from_millis(50);
        Client::new(connection).unwrap()
    };
    let request = request(&["cwe-top-25-2024"]);
    let given_up = read(&client(format!("http://{address}")), &request)
        .await
        .unwrap_err();
    assert!(matches!(given_up, Error::Unreachable { .. }), "{given_up}");
    // It speaks no TLS.
    let no_tls = read(&client(format!("https://{address}")), &request)
        .await
        .unwrap_err();
    assert!(
        matches!(no_tls, Error::Unreachable { .. } | Error::Tls(_)),
        "{no_tls}"
    );
    trickling.abort();
    let _ = trickling.await;
    let gone = read(&client(format!("http://{address}")), &request)
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::Unreachable { .. }), "{gone}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tests::tls::self_signed(&["127.0.0.1"]);
    let (told, mut handshakes) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            told.send(acceptor.accept(socket).await.is_ok()).unwrap();
        }
    });
    let client = Client::new(connection(&format!("https://{address}"), Edition::V9_9)).unwrap();
    let request = request(&["cwe-top-25-2024"]);
    let untrusted = read(&client, &request).await.unwrap_err();
    assert!(matches!(untrusted, Error::Tls(_)), "{untrusted}");
    let text = untrusted.to_string();
    assert!(text.contains("SSL_CERT_FILE"), "{text}");
    // It is not asked again: a certificate stays what it is.
    assert_eq!(handshakes.recv().await, Some(false));
    serving.abort();
    let _ = serving.await;
    assert_eq!(handshakes.recv().await, None);
}

#[tokio::test]
async fn what_changes_between_all_and_each_is_read_again() {
    // An issue is accepted, and a hotspot reviewed, after all of them were searched and before each category is.
    let (server, client) = start(Edition::V2025_1 { mqr: false }, project()).await;
    let mut searches = 0;
    server.trouble(move |asked, project| {
        searches += usize::from(asked.path == "api/hotspots/search");
        if searches == 1 && asked.path == "api/issues/search" {
            searches += 1;
            project.branches[0].issues[1].status = Status::Accepted;
            project.branches[0].hotspots[0].review = Review::Fixed;
        }
        None
    });
    let assessments = read(&client, &request(&["cwe-top-25-2024"])).await.unwrap();
    let assessment = &assessments[0];
    assert_eq!((assessment.open.total(), assessment.accepted), (3, 2));
    let listed = assessment
        .categories
        .iter()
        .map(|it| it.hotspots.to_review)
        .sum::<u64>();
    assert_eq!((assessment.hotspots.to_review, listed), (0, 0));
}

#[tokio::test]
async fn what_nobody_has_looked_at_is_listed_before_what_is_done() {
    let mut reviewed = project();
    let mut hotspots: Vec<_> = (0..700)
        .map(|number| hotspot(number, Review::Fixed))
        .collect();
    hotspots.push(hotspot(700, Review::ToReview));
    reviewed.branches[0].hotspots = hotspots;
    let assessments = read_of(reviewed, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap();
    let listed: Vec<_> = assessments[0]
        .categories
        .iter()
        .flat_map(|it| &it.listed_hotspots)
        .collect();
    assert_eq!(listed.len(), Printed::DEFAULT.others);
    assert_eq!(listed[0].review, Review::ToReview);
}

#[tokio::test]
async fn issues_in_another_state_than_was_asked_for_are_never_taken() {
    // What comes of a server, or of something before it, that ignores the parameter.
    let open = json!({"paging": {"pageIndex": 1, "pageSize": 500, "total": 1}, "issues": [{
        "key": "x", "rule": "java:xss", "component": "acme:shop:src/A.java", "project": KEY, "severity": "BLOCKER",
        "issueStatus": "OPEN",
    }]});
    let (server, client) = start(Edition::V2026_3 { mqr: false }, project()).await;
    server.trouble(move |asked, _| {
        let body = open.to_string();
        (asked.path == "api/issues/search").then(|| Response::new(Body::from(body)))
    });
    let refused = read(&client, &request(&["cwe-top-25-2024"]))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("other issues"), "{refused}");
}

#[tokio::test]
async fn the_mode_is_never_guessed() {
    for (setting, expected) in [
        ("true", Some(Mode::Mqr)),
        ("false", Some(Mode::Standard)),
        ("", None),
    ] {
        let (server, client) = start(Edition::V2025_1 { mqr: true }, project()).await;
        server.trouble(move |asked, _| match asked.path.as_str() {
            "api/v2/clean-code-policy/mode" => Some(error(403, "Insufficient privileges")),
            "api/settings/values" => {
                let value = json!({"settings": [{"key": "sonar.multi-quality-mode.enabled", "value": setting}]});
                Some(Response::new(Body::from(value.to_string())))
            }
            _ => None,
        });
        let read = read(&client, &request(&["cwe-top-25-2024"])).await;
        match expected {
            Some(mode) => assert_eq!(read.unwrap()[0].subject.mode, mode),
            None => assert!(matches!(read, Err(Error::NoMode)), "{read:?}"),
        }
    }
}

#[test]
fn an_address_is_one_of_a_server() {
    let of = |url: &str| Client::new(connection(url, Edition::V9_9)).map(|it| it.url().to_owned());
    for (url, expected) in [
        ("https://sonarqube.example", "https://sonarqube.example"),
        ("http://localhost:9000/", "http://localhost:9000"),
        ("https://example.com/sonar//", "https://example.com/sonar"),
    ] {
        assert_eq!(of(url).unwrap(), expected);
    }
    let cloud = Client::new(connection("https://sonarcloud.io", Edition::V9_9));
    assert!(matches!(cloud, Err(Error::NoOrganization)));
    let secret = of("https://squ_abc@sonarqube.example").unwrap_err();
    assert!(!format!("{secret} {secret:?}").contains("squ_abc"));
    for wrong in [
        "",
        "sonarqube.example",
        "ftp://example.com",
        "https://user@example.com",
        "https://example.com?a=b",
    ] {
        assert!(matches!(of(wrong), Err(Error::InvalidUrl)), "{wrong}");
    }
}

#[test]
fn of_each_standard_the_newest_edition_is_taken_where_none_is_named() {
    let newest: Vec<&str> = Standard::newest().iter().map(|it| it.id.as_str()).collect();
    assert_eq!(newest, ["cwe-top-25-2025", "owasp-top-10-2021"]);
}
