//! Reports that are made of what a source's server has found: which server that is, how it does, and what became of each call.

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{SourceId, matches};
use crate::analysis::{Analysis, Branch};
use crate::date::{GivenDate, timestamp};
use crate::report::ReportId;
use crate::report::limits::{MAX_BRANCH, cut};
use crate::webhook::secret::WebhookSecret;
use crate::webhook::url::WebhookUrl;

/// How many patterns of branches a source may have.
pub const MAX_BRANCHES: usize = 20;
/// For so long an import is tried that fails, from its call on. A server that is repaired within a long weekend misses nothing.
pub const PATIENCE: Duration = Duration::days(3);
/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::minutes(1);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::hours(6);
/// An administrator is told so long before a token expires.
pub const EXPIRY_NOTICE: Duration = Duration::days(14);
/// A server that does not accept the token is asked again after so long, by the hourly round: it may have been down in part. The
/// round may be early.
const UNAUTHORIZED_PAUSE: Duration = Duration::minutes(50);
/// A branch of which nobody has told for so long is not asked about any more, until somebody does. `SonarQube` itself forgets branches
/// after 30 days by default.
const BRANCH_RETENTION: Duration = Duration::days(90);
/// By so much an analysis may have been made after its call has come: clocks and time zones are set wrong.
pub const MAX_AHEAD: Duration = Duration::days(1);

/// The server that reports are made from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportSettings {
    /// Its address.
    pub base_url: WebhookUrl,
    /// The organization, on Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The token of a user who may browse the projects.
    pub token: WebhookSecret,
    /// The ids of the standards; without any, the newest edition of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standards: Vec<String>,
    /// The branches, by patterns as projects have them. Without any it is the main branch of each project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// What to call a version that is none.
    pub version_fallback: String,
}

impl ImportSettings {
    /// What is to be done about an analysis.
    pub fn plan(&self, analysis: &Analysis, now: OffsetDateTime) -> Import {
        let reason = if analysis.has_failed() {
            Some("the analysis failed".to_owned())
        } else if analysis.is_of_pull_request() {
            Some("it is of a pull request, and reports are of branches".to_owned())
        } else if !self.wants(analysis.branch.as_ref()) {
            let name = cut(analysis.branch_name().unwrap_or_default(), MAX_BRANCH);
            Some(format!("the source does not want branch '{name}'"))
        } else {
            None
        };
        match reason {
            Some(reason) => Import::ended(ImportState::Skipped, reason),
            None => Import::pending(now),
        }
    }

    /// Whether reports are made of a branch. One that has no name is the main one.
    pub fn wants(&self, branch: Option<&Branch>) -> bool {
        let Some((name, branch)) = branch.and_then(|it| Some((it.name.as_deref()?, it))) else {
            return true;
        };
        match self.branches.as_slice() {
            [] => branch.is_main == Some(true),
            patterns => patterns.iter().any(|pattern| matches(pattern, name)),
        }
    }
}

/// What an import came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// It is to be made, for the first time.
    Pending,
    /// Its reports are published, or were already.
    Published,
    /// The branch was analysed again in another version, and what was found before cannot be read any more.
    Superseded,
    /// No reports are to be made of it.
    Skipped,
    /// The server has no such project, branch or analysis, or hides it from the token's user.
    NotFound,
    /// The server does not accept the token, or its user may not browse the project.
    Unauthorized,
    /// Anything else.
    Failed,
}

/// What became of a call: whether reports are made of what it tells of, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// What it came to.
    pub state: ImportState,
    /// The reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<ReportId>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was tried in vain.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub failures: u32,
    /// When it is to be tried next, in the form of [`timestamp`]. What has none is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
}

impl Import {
    /// One that is to be made at once.
    pub fn pending(now: OffsetDateTime) -> Self {
        Self {
            state: ImportState::Pending,
            reports: Vec::new(),
            reason: None,
            failures: 0,
            due_at: Some(timestamp(now)),
        }
    }

    /// One that came to no reports.
    pub fn ended(state: ImportState, reason: String) -> Self {
        Self {
            state,
            reports: Vec::new(),
            reason: Some(reason),
            failures: 0,
            due_at: None,
        }
    }

    /// One whose reports are there.
    pub fn published(reports: Vec<ReportId>) -> Self {
        Self {
            state: ImportState::Published,
            reports,
            reason: None,
            failures: 0,
            due_at: None,
        }
    }

    /// The same, of which these reports are there.
    #[must_use]
    pub fn with_reports(&self, reports: Vec<ReportId>) -> Self {
        Self {
            reports,
            ..self.clone()
        }
    }

    /// The same, having failed once more at `now`, of a call that came at `received_at`: to be tried again, not before `after`, until
    /// it is given up.
    #[must_use]
    pub fn failed(
        &self,
        state: ImportState,
        reason: String,
        received_at: OffsetDateTime,
        after: Option<Duration>,
        now: OffsetDateTime,
    ) -> Self {
        let pause = pause(self.failures).max(after.unwrap_or_default());
        let pause = pause.min(LONGEST_PAUSE);
        let is_over = now - received_at >= PATIENCE;
        Self {
            failures: self.failures + 1,
            due_at: (!is_over).then(|| timestamp(now + pause)),
            reports: self.reports.clone(),
            ..Self::ended(state, reason)
        }
    }
}

/// The pause after so many failures before.
fn pause(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_i32.pow(failures.min(12))).min(LONGEST_PAUSE)
}

/// How a source's server does, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// It answers.
    Working,
    /// It does not accept the token. It is asked once an hour.
    Unauthorized,
    /// It cannot be reached, or is too busy: it is left alone for a while.
    Unreachable,
}

/// How imports of a source stand. Only whoever holds its lease changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// How the server does.
    #[serde(default)]
    pub health: Health,
    /// Of which revision of the source that is said: what an administrator has changed since may have mended it.
    #[serde(default)]
    pub revision: u64,
    /// Since when it does so, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was tried in vain, one after the other.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub failures: u32,
    /// Until when it is left alone, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// When it was asked last and answered, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// When its token expires, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<GivenDate>,
    /// When somebody looks after it next, in the form of [`timestamp`], if the queue has a message for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<String>,
    /// Behind which of its branches it is asked on what it has not told of, if it was not asked about all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_to: Option<String>,
}

impl Standing {
    /// The same, of a source of this revision. What was said of another one counts no more.
    #[must_use]
    pub fn of(self, revision: u64) -> Self {
        if self.revision == revision {
            return self;
        }
        Self {
            revision,
            wake_at: self.wake_at,
            asked_to: self.asked_to,
            ..Self::default()
        }
    }

    /// The same, but that the server is not left alone any more: it is known to answer.
    #[must_use]
    pub fn resumed(self) -> Self {
        Self {
            paused_until: None,
            ..self
        }
    }

    /// Until when the server is left alone, if it is.
    pub fn pause(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = OffsetDateTime::parse(self.paused_until.as_deref()?, &Rfc3339).ok()?;
        (until > now).then_some(until)
    }

    /// The server has accepted the token at `now`. Whether it does anything else is not known yet.
    pub fn note_greeting(&mut self, token_expires_at: Option<GivenDate>, now: OffsetDateTime) {
        if self.health == Health::Unauthorized {
            self.become_(Health::Working, None, now);
        }
        self.paused_until = None;
        self.answered_at = Some(timestamp(now));
        self.token_expires_at = token_expires_at;
    }

    /// The server has done what was asked of it by `now`.
    pub fn note_answer(&mut self, token_expires_at: Option<GivenDate>, now: OffsetDateTime) {
        self.become_(Health::Working, None, now);
        self.failures = 0;
        self.paused_until = None;
        self.answered_at = Some(timestamp(now));
        self.token_expires_at = token_expires_at;
    }

    /// The server has not accepted the token at `now`.
    pub fn note_unauthorized(&mut self, reason: String, now: OffsetDateTime) {
        self.become_(Health::Unauthorized, Some(reason), now);
        self.failures += 1;
        self.paused_until = Some(timestamp(now + UNAUTHORIZED_PAUSE));
    }

    /// The server could not be asked at `now`, or wants to be left alone for some time.
    pub fn note_unreachable(
        &mut self,
        reason: String,
        after: Option<Duration>,
        now: OffsetDateTime,
    ) {
        self.become_(Health::Unreachable, Some(reason), now);
        let pause = pause(self.failures).max(after.unwrap_or_default());
        self.failures += 1;
        self.paused_until = Some(timestamp(now + pause.min(LONGEST_PAUSE)));
    }

    fn become_(&mut self, health: Health, reason: Option<String>, now: OffsetDateTime) {
        if self.health != health {
            self.since = Some(timestamp(now));
            self.failures = 0;
        }
        (self.health, self.reason) = (health, reason);
    }

    /// Whether the token expires soon, or has.
    pub fn is_token_expiring(&self, now: OffsetDateTime) -> bool {
        let at = self.token_expires_at.as_ref();
        at.is_some_and(|at| at.instant() <= now + EXPIRY_NOTICE)
    }
}

/// A branch of a project that a source has told of, and its newest analysis that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    /// Whose it is.
    pub source: SourceId,
    /// The project's key.
    pub project: String,
    /// The branch; `None` for the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What the main one is called, if it is that one and a call has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The date of the newest analysis that is known, in Unix seconds: `SonarQube` has no fractions.
    pub analysed: i64,
    /// When it is forgotten, in Unix seconds, as DynamoDB wants it for its time to live.
    pub expires_at: i64,
}

impl Watched {
    /// The branch of an analysis of which somebody has told by `now`. Up to `analysed` everything is known. One that is said to be of the
    /// future would hide those until then.
    pub fn of(
        source: SourceId,
        analysis: &Analysis,
        analysed: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Self {
        let branch = analysis.branch_unless_main();
        let main = analysis.branch_name().filter(|_| branch.is_none());
        Self {
            source,
            project: analysis.project.key.clone(),
            branch: branch.map(str::to_owned),
            main: main.map(str::to_owned),
            analysed: analysed.min(now).unix_timestamp(),
            expires_at: (now + BRANCH_RETENTION).unix_timestamp(),
        }
    }

    /// The branch as a call names it. The main one has no name if no call has told.
    pub fn named(&self) -> Option<Branch> {
        let name = self.branch.as_ref().or(self.main.as_ref())?;
        Some(Branch {
            name: Some(name.clone()),
            is_main: Some(self.branch.is_none()),
            kind: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn settings(branches: &[&str]) -> ImportSettings {
        serde_json::from_value(json!({
            "baseUrl": "https://sonarqube.example.com", "token": "squ_1", "branches": branches, "versionFallback": "date",
        }))
        .unwrap()
    }

    fn analysis(branch: Value) -> Analysis {
        let call = json!({"taskId": "AZ1", "status": "SUCCESS", "project": {"key": "a"}, "branch": branch});
        Analysis::read(call.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_main_branch_is_wanted_and_others_by_their_names() {
        let branch =
            |name: &str, is_main: bool| json!({"name": name, "type": "BRANCH", "isMain": is_main});
        for (branches, of, is_wanted) in [
            (&[][..], branch("trunk", true), true),
            (&[], branch("other", false), false),
            (&[], Value::Null, true),
            (&[], json!({"name": "x"}), false),
            (&["main", "release/*"], branch("release/1", false), true),
            (&["main", "release/*"], branch("trunk", true), false),
            (&["*"], branch("anything", false), true),
        ] {
            let plan = settings(branches).plan(&analysis(of.clone()), NOW);
            assert_eq!(
                plan.state == ImportState::Pending,
                is_wanted,
                "{branches:?} {of}"
            );
            assert_eq!(plan.due_at.is_some(), is_wanted);
            assert_eq!(plan.reason.is_none(), is_wanted);
        }
    }

    #[test]
    fn no_reports_are_made_of_pull_requests_and_of_analyses_that_failed() {
        let mut call = json!({"taskId": "AZ1", "status": "FAILED", "project": {"key": "a"}});
        let plan = |call: &Value| {
            let analysis = Analysis::read(call.to_string().as_bytes()).unwrap();
            settings(&["*"]).plan(&analysis, NOW).state
        };
        assert_eq!(plan(&call), ImportState::Skipped);
        call["status"] = json!("SUCCESS");
        assert_eq!(plan(&call), ImportState::Pending);
        call["branch"] = json!({"name": "7", "type": "PULL_REQUEST", "isMain": false});
        assert_eq!(plan(&call), ImportState::Skipped);
    }

    #[test]
    fn what_fails_is_tried_after_longer_and_longer_pauses_for_three_days() {
        let mut import = Import::pending(NOW);
        let mut at = NOW;
        let mut pauses = Vec::new();
        loop {
            import = import.failed(ImportState::Failed, "why".to_owned(), NOW, None, at);
            let Some(due) = &import.due_at else { break };
            let due = OffsetDateTime::parse(due, &Rfc3339).unwrap();
            pauses.push((due - at).whole_minutes());
            at = due;
        }
        assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 360]);
        assert!((at - NOW) >= PATIENCE && (at - NOW) < PATIENCE + LONGEST_PAUSE);
        assert_eq!(import.reason.as_deref(), Some("why"));
        let wanted = Import::pending(NOW).failed(
            ImportState::Failed,
            String::new(),
            NOW,
            Some(Duration::minutes(9)),
            NOW,
        );
        assert_eq!(wanted.due_at, Some(timestamp(NOW + Duration::minutes(9))));
        let forever = Some(Duration::seconds(i64::MAX));
        let wanted = wanted.failed(ImportState::Failed, String::new(), NOW, forever, NOW);
        assert_eq!(wanted.due_at, Some(timestamp(NOW + LONGEST_PAUSE)));
    }

    #[test]
    fn what_is_said_of_a_server_counts_until_an_administrator_changes_the_source() {
        let mut standing = Standing::default().of(3);
        standing.note_unauthorized("wrong".to_owned(), NOW);
        assert_eq!(standing.pause(NOW), Some(NOW + UNAUTHORIZED_PAUSE));
        assert_eq!(standing.pause(NOW + UNAUTHORIZED_PAUSE), None);
        assert_eq!(standing.clone().of(3), standing);
        assert_eq!(standing.clone().of(4).pause(NOW), None);
        assert_eq!(standing.clone().of(4).health, Health::Unknown);

        let later = NOW + Duration::HOUR;
        standing.note_unreachable("down".to_owned(), None, later);
        assert_eq!(
            (standing.failures, standing.since.clone()),
            (1, Some(timestamp(later)))
        );
        standing.note_unreachable("down".to_owned(), Some(Duration::days(1)), later);
        assert_eq!(standing.pause(later), Some(later + LONGEST_PAUSE));
        standing.note_greeting(None, later);
        assert_eq!(
            (standing.health, standing.failures, standing.pause(later)),
            (Health::Unreachable, 2, None)
        );
        standing.note_answer(None, later);
        assert_eq!(
            (standing.health, standing.failures, standing.pause(later)),
            (Health::Working, 0, None)
        );
    }

    #[test]
    fn a_token_is_about_to_expire_two_weeks_before() {
        let mut standing = Standing::default();
        for (expires, is_soon) in [
            (None, false),
            (Some("2026-03-15T12:00:00+0000"), true),
            (Some("2026-03-15T12:00:01+0000"), false),
            (Some("2026-02-01T00:00:00+0000"), true),
        ] {
            standing.note_answer(expires.map(|it| it.parse().unwrap()), NOW);
            assert_eq!(standing.is_token_expiring(NOW), is_soon, "{expires:?}");
        }
    }
}
