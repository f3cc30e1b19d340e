//! The cursor of a list of reports.

use domain::organization::OrganizationId;
use domain::version::VersionRange;
use store::reports::{Filter, Order, Position};
use web::api::ApiError;
use web::cursor;

/// What a cursor is valid for: a query without `limit`, which may change from page to page.
pub(crate) struct Scope {
    scope: cursor::Scope,
    bounds: Option<(String, String)>,
}

impl Scope {
    pub(crate) fn new(
        org: OrganizationId,
        versions: &VersionRange,
        order: Order,
        product: Option<(&str, Filter<'_>)>,
    ) -> Self {
        let bounds = versions.key_bounds();
        let product = product.map(|(key, filter)| (key, filter.branch, filter.catalogue));
        let query = serde_json::json!([org, bounds, order == Order::Ascending, product]);
        Self {
            scope: cursor::Scope::new(&query),
            bounds,
        }
    }

    /// The cursor for the reports after `position`.
    pub(crate) fn seal(&self, position: &Position) -> String {
        self.scope.seal(position.as_str())
    }

    /// The position that a cursor holds.
    pub(crate) fn open(&self, cursor: &str) -> Result<Position, ApiError> {
        self.scope.open(cursor, |text| {
            // DynamoDB refuses to begin outside of the requested range.
            let (from, to) = self.bounds.as_ref()?;
            Position::parse(text).filter(|_| (from.as_str()..=to.as_str()).contains(&text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::report::ReportId;
    use domain::version::Version;
    use web::api::ErrorCode;

    fn scope(org: u128, lowest: &str, order: Order) -> Scope {
        let versions = VersionRange::ALL.at_least(lowest.parse().unwrap());
        Scope::new(
            OrganizationId::new(uuid::Uuid::from_u128(org)),
            &versions,
            order,
            None,
        )
    }

    fn of_product(key: &str, branch: Option<&str>) -> Scope {
        let versions = VersionRange::ALL.at_least("1".parse().unwrap());
        let filter = Filter {
            branch,
            catalogue: None,
        };
        let org = OrganizationId::new(uuid::Uuid::from_u128(1));
        Scope::new(org, &versions, Order::Ascending, Some((key, filter)))
    }

    fn position() -> Position {
        let version: Version = "1.2.3-rc.1".parse().unwrap();
        Position::new(
            &version,
            "2025-12-17T09:05:48.5946432+00:00",
            ReportId::new(uuid::Uuid::from_u128(7)),
        )
    }

    #[test]
    fn a_cursor_opens_in_its_own_scope_only() {
        let cursor = scope(1, "1", Order::Ascending).seal(&position());
        assert_eq!(
            scope(1, "1.0.0", Order::Ascending).open(&cursor).unwrap(),
            position()
        );
        for other in [
            scope(2, "1", Order::Ascending),
            scope(1, "2", Order::Ascending),
            scope(1, "1", Order::Descending),
            of_product("acme:shop", None),
            of_product("acme:shop", Some("main")),
        ] {
            assert_eq!(
                other.open(&cursor).unwrap_err().code(),
                ErrorCode::InvalidCursor
            );
        }
    }

    #[test]
    fn a_cursor_of_a_product_opens_for_it_and_its_filter_only() {
        let cursor = of_product("acme:shop", Some("main")).seal(&position());
        let same = of_product("acme:shop", Some("main")).open(&cursor);
        assert_eq!(same.unwrap(), position());
        for other in [
            of_product("acme:shop", None),
            of_product("acme:shop", Some("next")),
            of_product("acme:shops", Some("main")),
        ] {
            let error = other.open(&cursor).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidCursor);
        }
    }

    #[test]
    fn a_forged_cursor_does_not_leave_the_range() {
        let scope = scope(1, "2", Order::Ascending);
        let forged = scope.seal(&position());
        let error = scope.open(&forged).unwrap_err();
        assert_eq!(
            error.code(),
            ErrorCode::InvalidCursor,
            "1.2.3-rc.1 lies before 2"
        );
    }
}
