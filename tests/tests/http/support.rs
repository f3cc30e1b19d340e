//! What tests of several operations look at.

use tests::system::System;

/// Where an upload is completed.
pub(crate) fn complete_path(upload_id: &str) -> String {
    format!("/security/report/uploads/{upload_id}/complete")
}

/// The objects whose keys begin with a prefix.
pub(crate) async fn objects(system: &System, prefix: &str) -> Vec<String> {
    let list = system
        .stack
        .s3
        .list_objects_v2()
        .bucket(system.stack.bucket())
        .prefix(prefix)
        .send()
        .await
        .unwrap();
    list.contents
        .unwrap_or_default()
        .into_iter()
        .map(|object| object.key.unwrap())
        .collect()
}
