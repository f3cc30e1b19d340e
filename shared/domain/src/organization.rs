//! Who owns reports.

crate::uuid_id! {
    /// The id of an organization. Whoever knows it may list and download the organization's reports.
    OrganizationId
}
