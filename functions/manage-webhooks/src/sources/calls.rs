//! The calls of a source.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::date::timestamp;
use domain::event::Event;
use domain::report::ReportId;
use domain::source::SourceKind;
use domain::source::call::{Call as Received, CallId, Outcome};
use domain::source::import::{Health, Import, ImportState, Standing};
use futures_util::future::join_all;
use serde::Serialize;
use store::calls::Position;
use time::OffsetDateTime;
use web::api::{self, ApiError};
use web::cursor::Scope;
use web::query::Query;

use super::import::to_come;
use crate::access::{Call, ReadCalls};
use crate::state::Managing;

/// The query parameters of a source's calls.
pub const CALLS_PARAMETERS: [&str; 2] = ["limit", "cursor"];

/// The most bytes of bodies, as JSON, in a page of more than one call. A buffered answer of Lambda may have 6 MB.
const MAX_PAGE_BYTES: usize = 2_000_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallsBody {
    calls: Vec<CallBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallBody {
    id: CallId,
    received_at: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    /// How many events, if its kind may have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// The import of its reports, if there was to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<ImportBody>,
    /// The body of the call, for a caller that may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportBody {
    state: ImportState,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reports: Vec<ReportId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<String>,
}

impl ImportBody {
    /// An import of a source with this standing. While the server is left alone, its imports are not tried.
    fn of(import: Import, standing: &Standing, now: OffsetDateTime) -> Self {
        let pause = standing.pause(now).filter(|_| import.due_at.is_some());
        let is_pending = import.state == ImportState::Pending;
        let reason = match standing.health {
            Health::Unauthorized | Health::Unreachable if is_pending => standing.reason.clone(),
            _ => None,
        };
        Self {
            // In this form, times sort as text too.
            next_try_at: to_come(import.due_at.as_ref(), now).max(pause.map(timestamp)),
            state: match standing.health {
                Health::Unauthorized if is_pending => ImportState::Unauthorized,
                _ => import.state,
            },
            reports: import.reports,
            reason: import.reason.or(reason),
        }
    }
}

impl CallBody {
    fn of(
        call: Received,
        payload: Option<String>,
        standing: &Standing,
        now: OffsetDateTime,
    ) -> Self {
        // Nobody sent a call of the outcome `found`.
        let payload = payload.filter(|_| call.outcome != Outcome::Found);
        Self {
            id: call.id,
            received_at: call.received_at,
            outcome: call.outcome,
            reason: call.reason,
            event: call.event,
            event_count: (call.kind == SourceKind::Codescoring && call.outcome != Outcome::Refused)
                .then_some(call.events),
            project: call.project,
            branch: call.branch,
            task_id: call.task,
            import: call.import.map(|it| ImportBody::of(it, standing, now)),
            payload,
        }
    }
}

/// The calls of a source, the newest first.
pub(crate) async fn list(
    State(managing): State<Managing>,
    call: Call<ReadCalls>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let now = call.now;
    let source = managing.source(&call).await?;
    let query = Query::parse(raw.as_deref(), &CALLS_PARAMETERS)?;
    let scope = Scope::new(&serde_json::json!(["calls", source.id]));
    let limit = query.limit()?;
    let after = query
        .optional("cursor")?
        .map(|cursor| scope.open(cursor, Position::parse))
        .transpose()?;
    let (page, has_more) = managing
        .calls
        .page(source.id, after.as_ref(), limit)
        .await?;
    // DynamoDB deletes expired items only after some time.
    let page: Vec<Received> = page.into_iter().filter(|it| !it.is_expired(now)).collect();
    let standing = managing.standing(&source).await?;
    let standing = standing.unwrap_or_default().of(source.revision);
    let (calls, last) = match call.caller.may_manage {
        true => {
            let read = managing.with_payloads(page, has_more, &standing, now);
            read.await?
        }
        false => {
            let last = page.last().filter(|_| has_more).map(Position::of);
            let page = match source.settings.import {
                Some(_) => managing.with_imports(page).await?,
                None => page,
            };
            let body_of = |call| CallBody::of(call, None, &standing, now);
            (page.into_iter().map(body_of).collect(), last)
        }
    };
    let body = CallsBody {
        next_cursor: last.map(|last| scope.seal(last.as_str())),
        calls,
    };
    api::json(StatusCode::OK, &body)
}

impl Managing {
    /// Adds the imports to the calls. The index does not have them.
    async fn with_imports(&self, page: Vec<Received>) -> Result<Vec<Received>, ApiError> {
        let keys = page.iter().map(Received::key);
        let mut imports = self.calls.imports_of(keys).await?;
        let with = |call: Received| Received {
            import: imports.remove(&call.id),
            ..call
        };
        Ok(page.into_iter().map(with).collect())
    }

    /// Adds the bodies to the calls. Gives as many calls as fit into an answer, and the call after which to continue.
    async fn with_payloads(
        &self,
        page: Vec<Received>,
        has_more: bool,
        standing: &Standing,
        now: OffsetDateTime,
    ) -> Result<(Vec<CallBody>, Option<Position>), ApiError> {
        /// How many are read at a time. Each may have a megabyte.
        const AT_ONCE: usize = 10;
        let mut calls = Vec::new();
        let (mut bytes, mut last) = (0, None);
        let count = page.len();
        let mut page = page.into_iter().peekable();
        while page.peek().is_some() && bytes < MAX_PAGE_BYTES {
            let some: Vec<Received> = page.by_ref().take(AT_ONCE).collect();
            let read = join_all(some.iter().map(|call| self.calls.get(call.key()))).await;
            for (mut call, read) in some.into_iter().zip(read) {
                let payload = match read {
                    Ok(read) => read.map(|(read, body)| {
                        call.import = read.import;
                        body
                    }),
                    // It is counted, and the others can be shown.
                    Err(error) if error.is_unreadable() => None,
                    Err(error) => return Err(error.into()),
                };
                bytes += payload.as_ref().map_or(0, |it| length_in_json(it));
                if bytes >= MAX_PAGE_BYTES && !calls.is_empty() {
                    break;
                }
                last = Some(Position::of(&call));
                calls.push(CallBody::of(call, payload, standing, now));
            }
        }
        let is_cut_short = calls.len() < count;
        Ok((calls, last.filter(|_| has_more || is_cut_short)))
    }
}

/// How many bytes a text has as JSON, where a control character takes six.
fn length_in_json(text: &str) -> usize {
    let escaped = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
    text.len() + 5 * text.as_bytes().iter().filter(|it| escaped(it)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn shown(
        import: &Import,
        standing: &Standing,
    ) -> (ImportState, Option<String>, Option<String>) {
        let body = ImportBody::of(import.clone(), standing, NOW);
        (body.state, body.reason, body.next_try_at)
    }

    #[test]
    fn what_waits_for_a_server_that_is_left_alone_says_why_and_until_when() {
        let why = || Some("why".to_owned());
        let pending = Import::pending(NOW - Duration::HOUR);
        let none = Standing::default();
        assert_eq!(shown(&pending, &none), (ImportState::Pending, None, None));

        let mut unauthorized = Standing::default();
        unauthorized.note_unauthorized("why".to_owned(), NOW);
        let pause = unauthorized.pause(NOW).map(timestamp);
        assert_eq!(
            shown(&pending, &unauthorized),
            (ImportState::Unauthorized, why(), pause)
        );
        let mut unreachable = Standing::default();
        unreachable.note_unreachable("why".to_owned(), None, NOW);
        let pause = unreachable.pause(NOW).map(timestamp);
        assert!(pause.is_some());
        assert_eq!(
            shown(&pending, &unreachable),
            (ImportState::Pending, why(), pause.clone())
        );
        // The round has not come yet.
        let resumed = unauthorized.clone().resumed();
        assert_eq!(
            shown(&pending, &resumed),
            (ImportState::Unauthorized, why(), None)
        );

        let failed = |due_at: OffsetDateTime| Import {
            due_at: Some(timestamp(due_at)),
            ..Import::ended(ImportState::Failed, "own".to_owned())
        };
        let own = || Some("own".to_owned());
        assert_eq!(
            shown(&failed(NOW), &unreachable),
            (ImportState::Failed, own(), pause)
        );
        let later = NOW + Duration::DAY;
        assert_eq!(
            shown(&failed(later), &unreachable),
            (ImportState::Failed, own(), Some(timestamp(later)))
        );
    }

    #[test]
    fn what_is_done_waits_for_nothing() {
        let mut standing = Standing::default();
        standing.note_unauthorized("why".to_owned(), NOW);
        let published = Import::published(Vec::new());
        assert_eq!(
            shown(&published, &standing),
            (ImportState::Published, None, None)
        );
        let failed = Import::ended(ImportState::Failed, "own".to_owned());
        assert_eq!(
            shown(&failed, &standing),
            (ImportState::Failed, Some("own".to_owned()), None)
        );
    }
}
