//! Imports of reports from a source's server: the server's settings, its health, and the state of each import.

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

/// How many branch patterns a source may have.
pub const MAX_BRANCHES: usize = 20;
/// How long a failing import is retried, counted from its call. A server that is repaired within a long weekend misses
/// nothing.
pub const PATIENCE: Duration = Duration::days(3);
/// The pause after the first failure. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::minutes(1);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::hours(6);
/// How long before a token expires administrators are told.
pub const EXPIRY_NOTICE: Duration = Duration::days(14);
/// After how long the hourly sweep asks a server again that does not accept the token, since the server may have been down in
/// part. It is less than an hour because a sweep may come early.
const UNAUTHORIZED_PAUSE: Duration = Duration::minutes(50);
/// A branch is no longer asked about once nobody has reported an analysis of it for this long, until somebody does.
/// `SonarQube` itself deletes branches after 30 days by default.
const BRANCH_RETENTION: Duration = Duration::days(90);
/// How far in the future of its call an analysis may be. Clocks and time zones may be set wrong.
pub const MAX_AHEAD: Duration = Duration::days(1);

/// The server from which reports are imported, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportSettings {
    /// The server's address.
    pub base_url: WebhookUrl,
    /// The organization on `SonarQube` Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The token of a user who may browse the projects.
    pub token: WebhookSecret,
    /// The ids of the standards. An empty list stands for the newest edition of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standards: Vec<String>,
    /// Patterns of the branches, as for projects. An empty list stands for the main branch of each project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// The version to use where a project's version is not valid.
    pub version_fallback: String,
}

impl ImportSettings {
    /// The import that an analysis needs.
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

    /// Whether reports are imported from a branch. A branch without a name is the main one.
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

/// The state of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// It waits for its first attempt.
    Pending,
    /// Its reports are published now, or were already.
    Published,
    /// The branch was analysed again in another version, and the earlier findings cannot be read any more.
    Superseded,
    /// No reports are made of it.
    Skipped,
    /// The server has no such project, branch or analysis, or hides it from the token's user.
    NotFound,
    /// The server does not accept the token, or the token's user may not browse the project.
    Unauthorized,
    /// Another failure.
    Failed,
}

/// The import of a call: whether reports are made of its analysis, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// Its state.
    pub state: ImportState,
    /// The reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<ReportId>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many attempts failed.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub failures: u32,
    /// When the next attempt is due, in the form of [`timestamp`]. An import that has ended has no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
}

impl Import {
    /// An import that is due at once.
    pub fn pending(now: OffsetDateTime) -> Self {
        Self {
            state: ImportState::Pending,
            reports: Vec::new(),
            reason: None,
            failures: 0,
            due_at: Some(timestamp(now)),
        }
    }

    /// An import that ended without reports.
    pub fn ended(state: ImportState, reason: String) -> Self {
        Self {
            state,
            reports: Vec::new(),
            reason: Some(reason),
            failures: 0,
            due_at: None,
        }
    }

    /// An import whose reports exist.
    pub fn published(reports: Vec<ReportId>) -> Self {
        Self {
            state: ImportState::Published,
            reports,
            reason: None,
            failures: 0,
            due_at: None,
        }
    }

    /// The same import with these reports.
    #[must_use]
    pub fn with_reports(&self, reports: Vec<ReportId>) -> Self {
        Self {
            reports,
            ..self.clone()
        }
    }

    /// The same import after a further failure at `now`, for a call that came at `received_at`. It is tried again, not before
    /// `after`, until it is given up.
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

/// The pause after this many earlier failures.
fn pause(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_i32.pow(failures.min(12))).min(LONGEST_PAUSE)
}

/// The known health of a source's server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody has asked it yet.
    #[default]
    Unknown,
    /// It answers.
    Working,
    /// It does not accept the token. It is asked once an hour.
    Unauthorized,
    /// It cannot be reached, or is too busy. It is left alone for a while.
    Unreachable,
}

/// The health of a source's server, and the progress of its imports. Only the holder of the source's lease changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The server's health.
    #[serde(default)]
    pub health: Health,
    /// The revision of the source that this is about. A later change by an administrator may have repaired it.
    #[serde(default)]
    pub revision: u64,
    /// Since when the server has this health, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many attempts in a row failed.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub failures: u32,
    /// Until when the server is left alone, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// When the server last answered, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// When the token expires, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<GivenDate>,
    /// When a message on the queue starts the next visit, in the form of [`timestamp`]; `None` when there is no such message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<String>,
    /// The branch after which the search for unreported analyses continues, if it did not reach all branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_to: Option<String>,
}

impl Standing {
    /// The same standing for this revision of the source. What was known of another revision no longer counts.
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

    /// The same standing without a pause: the server is known to answer.
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

    /// Records that the server accepted the token at `now`. Whether it does anything else is not known yet.
    pub fn note_greeting(&mut self, token_expires_at: Option<GivenDate>, now: OffsetDateTime) {
        if self.health == Health::Unauthorized {
            self.become_(Health::Working, None, now);
        }
        self.paused_until = None;
        self.answered_at = Some(timestamp(now));
        self.token_expires_at = token_expires_at;
    }

    /// Records that the server did by `now` what was asked of it.
    pub fn note_answer(&mut self, token_expires_at: Option<GivenDate>, now: OffsetDateTime) {
        self.become_(Health::Working, None, now);
        self.failures = 0;
        self.paused_until = None;
        self.answered_at = Some(timestamp(now));
        self.token_expires_at = token_expires_at;
    }

    /// Records that the server refused the token at `now`.
    pub fn note_unauthorized(&mut self, reason: String, now: OffsetDateTime) {
        self.become_(Health::Unauthorized, Some(reason), now);
        self.failures += 1;
        self.paused_until = Some(timestamp(now + UNAUTHORIZED_PAUSE));
    }

    /// Records that the server could not be asked at `now`, or asks to be left alone for some time.
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

    /// Whether the token expires soon, or has expired.
    pub fn is_token_expiring(&self, now: OffsetDateTime) -> bool {
        let at = self.token_expires_at.as_ref();
        at.is_some_and(|at| at.instant() <= now + EXPIRY_NOTICE)
    }
}

/// A branch of a project that a source has reported, and its newest known analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    /// The source.
    pub source: SourceId,
    /// The project's key.
    pub project: String,
    /// The branch; `None` for the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The name of the main branch, if this is the main branch and a call has named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The date of the newest known analysis, in Unix seconds. `SonarQube`'s dates have no fractions.
    pub analysed: i64,
    /// When it expires, in Unix seconds, for DynamoDB's time to live.
    pub expires_at: i64,
}

impl Watched {
    /// The branch of an analysis that was reported by `now`. Every analysis up to `analysed` is known. A date in the future
    /// would hide all analyses until then, so it is limited.
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

    /// The branch as a call names it. The main branch has no name if no call has named it.
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
