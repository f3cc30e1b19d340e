//! Parameters of a request, as `SonarQube` reads them: from the query, and from a form in the body, as one map
//! (`ServletRequest` and `ValidatingRequest` in its source).

use axum::extract::{FromRequest, Request};
use axum::http::Method;
use domain::analysis::MAX_KEY;
use domain::webhook::{secret, url};
use web::api::{ApiError, ErrorCode};
use web::json;
use web::text::shortened;

use crate::settings::MAX_NAME;
use crate::state::MAX_BODY_BYTES;

/// The definition of a parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// How many characters it may have, as Java counts them, in UTF-16; without one, any number.
    most: Option<usize>,
}

pub(super) const NAME: Parameter = Parameter::of_at_most("name", MAX_NAME);
pub(super) const URL: Parameter = Parameter::of_at_most("url", url::MAX_CHARACTERS);
pub(super) const PROJECT: Parameter = Parameter::of_at_most("project", MAX_KEY);
pub(super) const SECRET: Parameter = Parameter::of_at_most("secret", secret::MAX_CHARACTERS);
/// The key of a webhook (`WebhooksWsParameters` in `SonarQube`'s source).
pub(super) const WEBHOOK: Parameter = Parameter::of_at_most("webhook", 40);
pub(super) const COMPONENT: Parameter = Parameter::of_any("componentKey");
pub(super) const TASK: Parameter = Parameter::of_any("ceTaskId");
pub(super) const DELIVERY: Parameter = Parameter::of_any("deliveryId");

/// Which page, and how many things it has at the most (`addPagingParamsSince` in `SonarQube`'s source).
const PAGE: &str = "p";
const PAGE_SIZE: &str = "ps";
const DEFAULT_PAGE_SIZE: usize = 10;
const MAX_PAGE_SIZE: usize = 500;

impl Parameter {
    const fn of_at_most(name: &'static str, most: usize) -> Self {
        Self {
            name,
            most: Some(most),
        }
    }

    const fn of_any(name: &'static str) -> Self {
        Self { name, most: None }
    }

    fn check_most(&self, value: &str) -> Result<(), ApiError> {
        let length = value.encode_utf16().count();
        match self.most {
            Some(most) if length > most => Err(self.invalid(format!(
                "'{}' length ({length}) is longer than the maximum authorized ({most})",
                self.name
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that a value has so many characters.
    pub(super) fn check_least(&self, value: &str, least: usize) -> Result<(), ApiError> {
        let length = value.encode_utf16().count();
        if length >= least {
            return Ok(());
        }
        Err(self.invalid(format!(
            "'{}' length ({length}) is shorter than the minimum authorized ({least})",
            self.name
        )))
    }

    fn invalid(&self, message: String) -> ApiError {
        ApiError::new(ErrorCode::InvalidField, message).parameter(self.name)
    }
}

/// The parameters of one request. Those that an action does not know are ignored. There is no `Debug`: secrets are among them.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequest<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or_default();
        let mut parameters = pairs(query.as_bytes());
        // Whatever its type is: some clients send a form and call it JSON. Of GET a body has none, as a servlet has it.
        if request.method() == Method::POST {
            let body = json::bytes(request.into_body(), MAX_BODY_BYTES).await?;
            parameters.extend(pairs(&body));
        }
        Ok(Self(parameters))
    }
}

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).into_owned().collect()
}

impl Parameters {
    /// The value of a parameter as it was given. Of several the first one counts, and the query's before the form's.
    fn raw(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(of, _)| of == name);
        values.next().map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, however long it is.
    pub(super) fn given(&self, parameter: &Parameter) -> Option<&str> {
        self.raw(parameter.name).map(str::trim)
    }

    /// The value of a parameter that may be absent.
    pub(super) fn optional(&self, parameter: &Parameter) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.raw(parameter.name) else {
            return Ok(None);
        };
        parameter.check_most(value)?;
        Ok(Some(value.trim()))
    }

    /// The value of a parameter that must be there and not be empty.
    pub(super) fn required(&self, parameter: &Parameter) -> Result<&str, ApiError> {
        let value = self.optional(parameter)?;
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("The '{}' parameter is missing", parameter.name);
            ApiError::new(ErrorCode::MissingParameter, message).parameter(parameter.name)
        })
    }

    /// Which page of how many things is asked for, where there are so many things at the most.
    pub(super) fn page(&self, results: usize) -> Result<(usize, usize), ApiError> {
        let index = self.number(PAGE, 1)?;
        let size = self.number(PAGE_SIZE, DEFAULT_PAGE_SIZE)?;
        let refused = |message| ApiError::new(ErrorCode::InvalidLimit, message);
        if size > MAX_PAGE_SIZE {
            let message = format!("'{PAGE_SIZE}' value ({size}) must be less than {MAX_PAGE_SIZE}");
            return Err(refused(message));
        }
        for (name, value) in [(PAGE, index), (PAGE_SIZE, size)] {
            if value == 0 {
                return Err(refused(format!(
                    "'{name}' value (0) must be greater than 0"
                )));
            }
        }
        // The last page may begin among these results and end behind them.
        if (index - 1).saturating_mul(size) >= results {
            // As its searches say it (`SearchOptions` in its source), of 10,000.
            let last = index.saturating_mul(size);
            let message =
                format!("Can return only the first {results} results. {last}th result asked.");
            return Err(refused(message));
        }
        Ok((index, size))
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        let Some(text) = self.raw(name).map(str::trim) else {
            return Ok(default);
        };
        text.parse().map_err(|_| {
            let text = shortened(text);
            let message =
                format!("The '{name}' parameter cannot be parsed as an integer value: {text}");
            ApiError::new(ErrorCode::InvalidLimit, message).parameter(name)
        })
    }
}
