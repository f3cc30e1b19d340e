//! The deletion of reports.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::report::ReportKey;
use publishing::{Deleted, SupersededObject};
use web::api::{ApiError, ErrorCode};

use crate::access::{Call, DeleteReports};
use crate::state::Managing;
use crate::target::report_not_found;

/// Deletes a report. A repetition does what the first call may have left undone: it marks the files to expire, and announces
/// the deletion.
pub(crate) async fn delete(
    State(managing): State<Managing>,
    call: Call<DeleteReports>,
) -> Result<Response, ApiError> {
    let caller = &call.caller;
    let report = ReportKey {
        org: caller.org,
        id: call.target.report()?,
    };
    let tombstone = match managing.publisher.delete(report, call.now).await? {
        Deleted::Done(tombstone) => tombstone,
        Deleted::Missing => return Err(report_not_found()),
        Deleted::Lost => {
            let message = "it was published again at the same moment; delete it again";
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
    };
    let id = report.id;
    tracing::info!(
        report = %id, revision = tombstone.revision, caller = caller.name,
        "report {id} is deleted, as {} has asked for", caller.name
    );
    let files = SupersededObject::all_of(&tombstone);
    managing.files.mark_superseded(&files).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
