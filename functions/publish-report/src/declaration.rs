//! A publisher's declaration: the report's metadata, and the files that it will upload.

use std::collections::{BTreeMap, HashSet};

use domain::name::folded;
use domain::organization::OrganizationId;
use domain::report::limits::{
    MAX_BRANCH, MAX_CONDITIONS, MAX_GATE_TEXT, MAX_PROJECT_NAME, MAX_PROPERTIES, MAX_PROPERTY_KEY,
    MAX_PROPERTY_VALUE, MAX_TEXT, MAX_URL, cut,
};
use domain::report::{Gate, GateCondition, Metadata, Origin, QualityGateStatus, Rating};
use serde_json::Value;
use web::api::{ApiError, ErrorCode};
use web::fields::{Fields, invalid, project_key, text};
use web::text::shortened;

use crate::upload::DeclaredFile;

const FIELDS: [&str; 20] = [
    "organizationId",
    "projectKey",
    "projectName",
    "projectVersion",
    "reportType",
    "reportVersion",
    "date",
    "vulnerabilitiesCount",
    "securityRating",
    "qualityGate",
    "properties",
    "taskId",
    "revision",
    "branch",
    "branchType",
    "branchIsMain",
    "serverUrl",
    "projectUrl",
    "analysedAt",
    "files",
];
const FILE_FIELDS: [&str; 3] = ["name", "size", "sha256"];

/// How many files a report may have.
const MAX_FILES: usize = 20;
/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 500_000_000;
/// The longest name of a file, in bytes. Common file systems allow 255, and this leaves room for a suffix.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The body of the first step.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// Optional, so that a publisher with several tokens notices when it uses the wrong one.
    pub(crate) org: Option<OrganizationId>,
    pub(crate) metadata: Metadata,
    pub(crate) files: Vec<DeclaredFile>,
}

impl Declaration {
    /// Reads a declaration. `api_url` is the address of this API.
    pub(crate) fn parse(body: Value, api_url: &str) -> Result<Self, ApiError> {
        let mut fields = Fields::of(body, String::new(), &FIELDS)?;
        let org = match fields.optional("organizationId") {
            None => None,
            Some(value) => Some(organization(&value)?),
        };
        let (quality_gate, gate) = quality_gate(&mut fields)?;
        let metadata = Metadata {
            project_key: project_key(fields.required("projectKey")?, "projectKey")?,
            project_name: fields.text("projectName", MAX_PROJECT_NAME)?,
            project_version: fields.parsed(
                "projectVersion",
                ErrorCode::InvalidVersion,
                str::parse,
            )?,
            report_type: fields.text("reportType", MAX_TEXT)?,
            report_version: u32_of(&mut fields, "reportVersion", ErrorCode::InvalidField)?,
            date: fields.parsed("date", ErrorCode::InvalidDate, str::parse)?,
            vulnerabilities_count: u32_of(
                &mut fields,
                "vulnerabilitiesCount",
                ErrorCode::InvalidCount,
            )?,
            security_rating: fields.parsed("securityRating", ErrorCode::InvalidRating, rating)?,
            quality_gate,
            properties: properties(&mut fields)?,
            task_id: fields.optional_text("taskId", MAX_TEXT)?,
            scm_revision: fields.optional_text("revision", MAX_TEXT)?,
            branch: fields.optional_text("branch", MAX_BRANCH)?,
            origin: origin(&mut fields, gate, api_url)?,
        };
        Ok(Self {
            org,
            metadata,
            files: files(fields.required("files")?)?,
        })
    }
}

fn organization(value: &Value) -> Result<OrganizationId, ApiError> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            invalid(
                ErrorCode::InvalidOrganization,
                "organizationId",
                "must be an organization's id, a UUID",
            )
        })
}

fn u32_of(fields: &mut Fields, name: &str, code: ErrorCode) -> Result<u32, ApiError> {
    let number = fields.number(name, (code, code), u64::from(u32::MAX))?;
    Ok(u32::try_from(number).map_err(anyhow::Error::from)?)
}

fn rating(text: &str) -> Result<Rating, &'static str> {
    match text {
        "A" => Ok(Rating::A),
        "B" => Ok(Rating::B),
        "C" => Ok(Rating::C),
        "D" => Ok(Rating::D),
        "E" => Ok(Rating::E),
        _ => Err("a rating is A, B, C, D or E"),
    }
}

/// The quality gate: `"OK"`, or the object of `SonarQube`'s webhooks. Only the status counts. The name and the conditions are
/// kept for calls.
fn quality_gate(
    fields: &mut Fields,
) -> Result<(Option<QualityGateStatus>, Option<Gate>), ApiError> {
    let Some(value) = fields.optional("qualityGate") else {
        return Ok((None, None));
    };
    let status = if value.is_object() {
        value.get("status")
    } else {
        Some(&value)
    };
    let status = match status.and_then(Value::as_str) {
        Some("OK") => QualityGateStatus::Ok,
        Some("WARN") => QualityGateStatus::Warn,
        Some("ERROR") => QualityGateStatus::Error,
        Some("NONE") => QualityGateStatus::None,
        _ => {
            let message = "must be OK, WARN, ERROR or NONE, or an object with such a status";
            return Err(invalid(ErrorCode::InvalidField, "qualityGate", message));
        }
    };
    let gate = value.is_object().then(|| gate(&value)).flatten();
    Ok((Some(status), gate))
}

/// The name and the conditions of a gate, if they have the form that `SonarQube` gives them. Any other form is ignored rather
/// than refused, because earlier versions did not look at them.
fn gate(value: &Value) -> Option<Gate> {
    let text = |value: &Value, name: &str| {
        let text = value.get(name)?.as_str()?;
        Some(cut(text, MAX_GATE_TEXT))
    };
    let condition = |value: &Value| {
        Some(GateCondition {
            metric: text(value, "metric")?,
            operator: text(value, "operator")?,
            value: text(value, "value"),
            status: text(value, "status")?,
            error_threshold: text(value, "errorThreshold"),
        })
    };
    let conditions = value.get("conditions").and_then(Value::as_array);
    let conditions = conditions.into_iter().flatten().take(MAX_CONDITIONS);
    let gate = Gate {
        name: text(value, "name"),
        conditions: conditions.filter_map(condition).collect(),
    };
    (gate != Gate::default()).then_some(gate)
}

/// The further fields of an analysis that `SonarQube`'s own calls have.
fn origin(
    fields: &mut Fields,
    gate: Option<Gate>,
    api_url: &str,
) -> Result<Option<Box<Origin>>, ApiError> {
    let url = |fields: &mut Fields, name: &str| {
        let url = fields.optional_text(name, MAX_URL)?;
        let is_url = |it: &String| it.starts_with("https://") || it.starts_with("http://");
        match url {
            Some(url) if !is_url(&url) => {
                let message = "must be an address that begins with https:// or http://";
                Err(invalid(ErrorCode::InvalidField, name, message))
            }
            url => Ok(url),
        }
    };
    let branch_type = fields.optional_text("branchType", MAX_TEXT)?;
    let types = ["BRANCH", "PULL_REQUEST", "LONG", "SHORT"];
    if branch_type
        .as_ref()
        .is_some_and(|it| !types.contains(&it.as_str()))
    {
        let message = "must be BRANCH, PULL_REQUEST, LONG or SHORT";
        return Err(invalid(ErrorCode::InvalidField, "branchType", message));
    }
    let is_main = fields.boolean("branchIsMain")?;
    let analysed_at = match fields.optional("analysedAt") {
        None => None,
        Some(Value::String(text)) => Some(text.parse().map_err(|reason| {
            let message = format!("'{}' is refused: {reason}", shortened(&text));
            invalid(ErrorCode::InvalidDate, "analysedAt", &message)
        })?),
        Some(_) => {
            return Err(invalid(
                ErrorCode::InvalidDate,
                "analysedAt",
                "must be text",
            ));
        }
    };
    let server_url = url(fields, "serverUrl")?;
    let own = Some(api_url.to_owned()).filter(|it| !it.is_empty());
    Ok(Some(Box::new(Origin {
        server_url: server_url.or(own),
        project_url: url(fields, "projectUrl")?,
        analysed_at,
        branch_type,
        is_main,
        gate,
        is_imported: false,
    })))
}

fn properties(fields: &mut Fields) -> Result<BTreeMap<String, String>, ApiError> {
    let object = match fields.optional("properties") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(_) => {
            return Err(invalid(
                ErrorCode::InvalidField,
                "properties",
                "must be an object of texts",
            ));
        }
    };
    if object.len() > MAX_PROPERTIES {
        let message = format!(
            "may have at most {MAX_PROPERTIES} properties, and has {}",
            object.len()
        );
        return Err(invalid(ErrorCode::InvalidField, "properties", &message));
    }
    let property = |(key, value): (String, Value)| {
        let key = text(
            Value::String(key),
            "properties: the name of each",
            MAX_PROPERTY_KEY,
        )
        .map_err(|error| error.parameter("properties"))?;
        let value = match value {
            Value::String(value) if value.is_empty() => value,
            value => text(value, &format!("properties.{key}"), MAX_PROPERTY_VALUE)?,
        };
        Ok((key, value))
    };
    object.into_iter().map(property).collect()
}

fn files(value: Value) -> Result<Vec<DeclaredFile>, ApiError> {
    let Value::Array(values) = value else {
        return Err(invalid(
            ErrorCode::InvalidField,
            "files",
            "must be an array",
        ));
    };
    if values.is_empty() {
        return Err(invalid(
            ErrorCode::NoFiles,
            "files",
            "a report has at least one file",
        ));
    }
    if values.len() > MAX_FILES {
        let message = format!(
            "a report has at most {MAX_FILES} files, and these are {}",
            values.len()
        );
        return Err(invalid(ErrorCode::TooManyFiles, "files", &message));
    }
    let mut names = HashSet::new();
    let mut files = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let mut fields = Fields::of(value, format!("files[{position}]."), &FILE_FIELDS)?;
        let file = file(&mut fields)?;
        // Whoever unpacks an archive would keep only one of them.
        if !names.insert(folded(&file.name)) {
            let message = format!("another file is called '{}' already", file.name);
            return Err(invalid(
                ErrorCode::DuplicateFileName,
                &fields.path("name"),
                &message,
            ));
        }
        files.push(file);
    }
    Ok(files)
}

fn file(fields: &mut Fields) -> Result<DeclaredFile, ApiError> {
    let name = fields.parsed("name", ErrorCode::InvalidFileName, file_name)?;
    let codes = (ErrorCode::InvalidField, ErrorCode::FileTooLarge);
    let size = fields.number("size", codes, MAX_FILE_BYTES)?;
    let sha256 = fields.parsed("sha256", ErrorCode::InvalidSha256, |text| {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest {
            Ok(text.to_lowercase())
        } else {
            Err("a SHA-256 has 64 hexadecimal digits")
        }
    })?;
    Ok(DeclaredFile { name, size, sha256 })
}

fn file_name(name: &str) -> Result<String, String> {
    if name.len() > MAX_FILE_NAME_BYTES {
        return Err(format!(
            "a file's name has at most {MAX_FILE_NAME_BYTES} bytes"
        ));
    }
    if name.contains(['/', '\\']) {
        return Err("a file's name has no folder".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err("a file's name has no control characters".to_owned());
    }
    let lower = name.to_lowercase();
    match lower
        .strip_suffix(".html")
        .or_else(|| lower.strip_suffix(".pdf"))
    {
        // An archive drops dots and spaces at either end.
        Some(stem) if stem.trim_matches([' ', '.']).is_empty() => {
            Err("a file's name has a letter or a digit before .html or .pdf".to_owned())
        }
        Some(_) => Ok(name.to_owned()),
        None => Err("a file's name ends with .html or .pdf".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn valid() -> Value {
        json!({
            "projectKey": "acme:shop", "projectName": "Shop", "projectVersion": "v1.0", "reportType": "CWE Top 25",
            "reportVersion": 2024, "date": "2025-12-17T09:05:48.5946432+00:00", "vulnerabilitiesCount": 0,
            "securityRating": "A",
            "files": [{"name": "report.html", "size": 0, "sha256": "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"}],
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<Declaration, ApiError> {
        let mut value = valid();
        change(&mut value);
        parse(value.to_string().as_bytes())
    }

    fn parse(body: &[u8]) -> Result<Declaration, ApiError> {
        Declaration::parse(web::json::parse_object(body)?, "https://api.example")
    }

    #[test]
    fn a_declaration_is_read_in_full() {
        let declaration = with(|value| {
            value["qualityGate"] =
                json!({"name": "Sonar way", "status": "ERROR", "conditions": []});
            value["properties"] = json!({"sonar.analysis.build": "12", "empty": ""});
            value["taskId"] = json!("AXouyxDpizdp4B1K");
            value["revision"] = json!("f84442009c09b1adc278b6aa80a3853419f54007");
            value["branch"] = json!(null);
        })
        .unwrap();
        let metadata = declaration.metadata;
        assert_eq!(metadata.quality_gate, Some(QualityGateStatus::Error));
        assert_eq!(metadata.properties["sonar.analysis.build"], "12");
        assert_eq!(
            metadata.scm_revision.as_deref(),
            Some("f84442009c09b1adc278b6aa80a3853419f54007")
        );
        assert_eq!(
            (metadata.branch, metadata.task_id.as_deref()),
            (None, Some("AXouyxDpizdp4B1K"))
        );
        assert!(
            declaration.files[0].sha256.starts_with("e3b0c442"),
            "lower case: {:?}",
            declaration.files
        );
    }

    #[rstest]
    #[case::key_empty("projectKey", json!(""), ErrorCode::InvalidField)]
    #[case::key_with_a_space("projectKey", json!("a b"), ErrorCode::InvalidField)]
    #[case::key_with_a_line_break("projectKey", json!("a\r\nX-Header: b"), ErrorCode::InvalidField)]
    #[case::key_of_digits_only("projectKey", json!("123"), ErrorCode::InvalidField)]
    #[case::key_of_401("projectKey", json!("k".repeat(401)), ErrorCode::InvalidField)]
    #[case::name_of_501("projectName", json!("ä".repeat(501)), ErrorCode::InvalidField)]
    #[case::name_with_a_control_character("projectName", json!("a\u{0}"), ErrorCode::InvalidField)]
    #[case::version_without_a_number("projectVersion", json!("not provided"), ErrorCode::InvalidVersion)]
    #[case::version_that_is_a_number("projectVersion", json!(1), ErrorCode::InvalidVersion)]
    #[case::report_version_below_zero("reportVersion", json!(-1), ErrorCode::InvalidField)]
    #[case::report_version_as_text("reportVersion", json!("2024"), ErrorCode::InvalidField)]
    #[case::date_without_an_offset("date", json!("2025-12-17T09:05:48"), ErrorCode::InvalidDate)]
    #[case::count_below_zero("vulnerabilitiesCount", json!(-1), ErrorCode::InvalidCount)]
    #[case::count_with_a_fraction("vulnerabilitiesCount", json!(1.5), ErrorCode::InvalidCount)]
    #[case::count_beyond_32_bits("vulnerabilitiesCount", json!(4_294_967_296_u64), ErrorCode::InvalidCount)]
    #[case::rating_beyond_e("securityRating", json!("F"), ErrorCode::InvalidRating)]
    #[case::rating_in_lower_case("securityRating", json!("a"), ErrorCode::InvalidRating)]
    #[case::rating_that_is_a_number("securityRating", json!(1), ErrorCode::InvalidRating)]
    #[case::quality_gate_that_there_is_not("qualityGate", json!("PASSED"), ErrorCode::InvalidField)]
    #[case::properties_that_are_a_list("properties", json!([]), ErrorCode::InvalidField)]
    #[case::property_that_is_a_number("properties", json!({"a": 1}), ErrorCode::InvalidField)]
    #[case::properties_101("properties", properties(101), ErrorCode::InvalidField)]
    #[case::branch_of_256("branch", json!("b".repeat(256)), ErrorCode::InvalidField)]
    #[case::organization_that_is_none("organizationId", json!("x"), ErrorCode::InvalidOrganization)]
    #[case::field_that_there_is_not("proyectKey", json!("x"), ErrorCode::UnknownField)]
    #[case::name_that_is_null("projectName", json!(null), ErrorCode::MissingField)]
    #[case::files_that_are_an_object("files", json!({}), ErrorCode::InvalidField)]
    #[case::no_files("files", json!([]), ErrorCode::NoFiles)]
    #[case::file_that_is_text("files", json!(["a"]), ErrorCode::InvalidField)]
    fn every_field_has_its_limits(
        #[case] field: &str,
        #[case] value: Value,
        #[case] code: ErrorCode,
    ) {
        let error = with(|it| it[field] = value).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
    }

    fn properties(count: usize) -> Value {
        let names = (0..count).map(|number| number.to_string());
        Value::Object(names.map(|name| (name, json!("x"))).collect())
    }

    #[rstest]
    #[case::field_that_there_is_not("path", json!("x"), ErrorCode::UnknownField)]
    #[case::no_size("size", json!(null), ErrorCode::MissingField)]
    #[case::size_below_zero("size", json!(-1), ErrorCode::InvalidField)]
    #[case::size_beyond_64_bits("size", json!(1e30), ErrorCode::FileTooLarge)]
    #[case::size_of_more_than_500_mb("size", json!(500_000_001), ErrorCode::FileTooLarge)]
    #[case::sha256_too_short("sha256", json!("e3b0"), ErrorCode::InvalidSha256)]
    #[case::sha256_without_hexadecimal_digits("sha256", json!("g".repeat(64)), ErrorCode::InvalidSha256)]
    #[case::name_with_a_folder("name", json!("../report.html"), ErrorCode::InvalidFileName)]
    #[case::name_with_a_folder_of_windows("name", json!("a\\b.html"), ErrorCode::InvalidFileName)]
    #[case::name_with_a_control_character("name", json!("a\u{1}.html"), ErrorCode::InvalidFileName)]
    #[case::name_of_another_format("name", json!("report.exe"), ErrorCode::InvalidFileName)]
    #[case::name_that_is_an_ending_only("name", json!(".pdf"), ErrorCode::InvalidFileName)]
    #[case::name_of_dots_and_spaces("name", json!(" . .html"), ErrorCode::InvalidFileName)]
    #[case::name_of_204_bytes("name", json!("a".repeat(200) + ".pdf"), ErrorCode::InvalidFileName)]
    fn every_field_of_a_file_has_its_limits(
        #[case] field: &str,
        #[case] value: Value,
        #[case] code: ErrorCode,
    ) {
        let error = with(|it| it["files"][0][field] = value).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
    }

    #[test]
    fn a_file_has_a_size() {
        let error = with(|it| {
            it["files"][0].as_object_mut().unwrap().remove("size");
        });
        assert_eq!(error.unwrap_err().code(), ErrorCode::MissingField);
    }

    #[rstest]
    #[case::size_of_500_mb("size", json!(500_000_000))]
    #[case::name_in_other_letters("name", json!("Отчёт.PDF"))]
    fn a_file_is_taken_up_to_its_limits(#[case] field: &str, #[case] value: Value) {
        with(|it| it["files"][0][field] = value).unwrap();
    }

    #[test]
    fn files_are_counted_and_their_names_told_apart() {
        let file = |name: String| json!({"name": name, "size": 1, "sha256": "0".repeat(64)});
        let files = |count: usize| {
            (0..count)
                .map(|n| file(format!("{n}.pdf")))
                .collect::<Value>()
        };
        assert!(with(|it| it["files"] = files(20)).is_ok());
        assert_eq!(
            with(|it| it["files"] = files(21)).unwrap_err().code(),
            ErrorCode::TooManyFiles
        );
        let composed = with(|it| {
            it["files"] = json!([file("\u{e4}.pdf".into()), file("a\u{308}.pdf".into())])
        });
        assert_eq!(composed.unwrap_err().code(), ErrorCode::DuplicateFileName);
        for (one, other) in [
            ("a.pdf", "A.PDF"),
            ("Straße.html", "STRASSE.html"),
            ("STRAẞE.html", "strasse.html"),
        ] {
            let same = with(|it| it["files"] = json!([file(one.into()), file(other.into())]));
            assert_eq!(
                same.unwrap_err().code(),
                ErrorCode::DuplicateFileName,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for body in ["", "{", "[]", "null", "\"text\"", "{\"a\": }", "\u{0}"] {
            assert_eq!(
                parse(body.as_bytes()).unwrap_err().code(),
                ErrorCode::InvalidJson,
                "{body}"
            );
        }
        assert_eq!(
            parse(b"\xff\xfe").unwrap_err().code(),
            ErrorCode::InvalidJson
        );
    }

    /// What a field of a declaration may have, right or wrong.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[a-z0-9:._-]{0,12}|.{0,30}".prop_map(Value::from),
            "[0-9]{1,2}(\\.[0-9]{1,2}){0,3}(-rc1)?".prop_map(Value::from),
            "[A-F]|OK|WARN|ERROR|NONE".prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u8>().prop_map(|it| Value::from(f64::from(it) + 0.5)),
            prop::collection::btree_map("[a-z.]{1,5}", "[a-z]{0,5}", 0..3).prop_map(|it| json!(it)),
            prop::sample::select(vec![
                json!(null),
                json!([{}]),
                json!({"status": []}),
                json!({"status": "OK"})
            ]),
        ]
    }

    proptest! {
        #[test]
        fn a_field_is_kept_as_it_was_given_or_the_error_is_about_it(
            name in prop::sample::select(FIELDS.as_slice()),
            value in value(),
        ) {
            match with(|it| it[name] = value.clone()) {
                Err(error) => {
                    let about = error.named().unwrap_or_default();
                    prop_assert!(about.starts_with(name), "{:?}", error);
                }
                Ok(declaration) => {
                    let kept = serde_json::to_value(declaration.metadata).unwrap();
                    if ["projectKey", "projectName", "projectVersion", "reportType", "reportVersion", "date",
                        "vulnerabilitiesCount", "securityRating", "taskId", "branch"].contains(&name) {
                        prop_assert_eq!(kept.get(name).unwrap_or(&Value::Null), &value);
                    }
                }
            }
        }

        #[test]
        fn what_is_no_declaration_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\":,a-z0-9 ]{0,20}") {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }

        #[test]
        fn half_a_declaration_is_no_json(at: prop::sample::Index) {
            let whole = valid().to_string();
            let half = &whole.as_bytes()[..at.index(whole.len())];
            prop_assert_eq!(parse(half).unwrap_err().code(), ErrorCode::InvalidJson);
        }
    }
}
