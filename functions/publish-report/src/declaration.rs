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

    #[test]
    fn every_field_has_its_limits() {
        use ErrorCode as E;
        let set = |path: &str, value: Value| with(|it| *it.pointer_mut(path).unwrap() = value);
        let add = |name: &str, value: Value| with(|it| it[name] = value);
        for (result, code) in [
            (add("projectKey", json!("")), E::InvalidField),
            (add("projectKey", json!("a b")), E::InvalidField),
            (
                add("projectKey", json!("a\r\nX-Header: b")),
                E::InvalidField,
            ),
            (add("projectKey", json!("123")), E::InvalidField),
            (add("projectKey", json!("k".repeat(401))), E::InvalidField),
            (add("projectName", json!("ä".repeat(501))), E::InvalidField),
            (add("projectName", json!("a\u{0}")), E::InvalidField),
            (
                add("projectVersion", json!("not provided")),
                E::InvalidVersion,
            ),
            (add("projectVersion", json!(1)), E::InvalidVersion),
            (add("reportVersion", json!(-1)), E::InvalidField),
            (add("reportVersion", json!("2024")), E::InvalidField),
            (add("date", json!("2025-12-17T09:05:48")), E::InvalidDate),
            (add("vulnerabilitiesCount", json!(-1)), E::InvalidCount),
            (add("vulnerabilitiesCount", json!(1.5)), E::InvalidCount),
            (
                add("vulnerabilitiesCount", json!(4_294_967_296_u64)),
                E::InvalidCount,
            ),
            (add("securityRating", json!("F")), E::InvalidRating),
            (add("securityRating", json!("a")), E::InvalidRating),
            (add("securityRating", json!(1)), E::InvalidRating),
            (add("qualityGate", json!("PASSED")), E::InvalidField),
            (add("properties", json!([])), E::InvalidField),
            (add("properties", json!({"a": 1})), E::InvalidField),
            (
                add(
                    "properties",
                    (0..101)
                        .map(|n| (n.to_string(), json!("x")))
                        .collect::<serde_json::Map<_, _>>()
                        .into(),
                ),
                E::InvalidField,
            ),
            (add("branch", json!("b".repeat(256))), E::InvalidField),
            (add("organizationId", json!("x")), E::InvalidOrganization),
            (add("proyectKey", json!("x")), E::UnknownField),
            (add("projectName", json!(null)), E::MissingField),
            (add("files", json!({})), E::InvalidField),
            (add("files", json!([])), E::NoFiles),
            (add("files", json!(["a"])), E::InvalidField),
            (
                with(|it| it["files"][0]["path"] = json!("x")),
                E::UnknownField,
            ),
            (
                with(|it| {
                    it["files"][0].as_object_mut().unwrap().remove("size");
                }),
                E::MissingField,
            ),
            (set("/files/0/size", json!(-1)), E::InvalidField),
            (set("/files/0/size", json!(1e30)), E::FileTooLarge),
            (set("/files/0/size", json!(500_000_001)), E::FileTooLarge),
            (set("/files/0/sha256", json!("e3b0")), E::InvalidSha256),
            (
                set("/files/0/sha256", json!("g".repeat(64))),
                E::InvalidSha256,
            ),
            (
                set("/files/0/name", json!("../report.html")),
                E::InvalidFileName,
            ),
            (set("/files/0/name", json!("a\\b.html")), E::InvalidFileName),
            (
                set("/files/0/name", json!("a\u{1}.html")),
                E::InvalidFileName,
            ),
            (
                set("/files/0/name", json!("report.exe")),
                E::InvalidFileName,
            ),
            (set("/files/0/name", json!(".pdf")), E::InvalidFileName),
            (set("/files/0/name", json!(" . .html")), E::InvalidFileName),
            (
                set("/files/0/name", json!(format!("{}.pdf", "a".repeat(200)))),
                E::InvalidFileName,
            ),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.code(), code, "{error:?}");
        }
        assert!(set("/files/0/size", json!(500_000_000)).is_ok());
        assert!(set("/files/0/name", json!("Отчёт.PDF")).is_ok());
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

    proptest! {
        #[test]
        fn any_body_is_a_declaration_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            name in prop::sample::select(FIELDS.as_slice()),
            value in prop_oneof!["\"[^\"\\\\]{0,30}\"", "-?[0-9]{1,30}", Just("[{}]".to_owned()), Just("{\"status\":[]}".to_owned())],
        ) {
            let _ = parse(&bytes);
            if let Ok(value) = serde_json::from_str(&value) {
                let _ = with(|it| it[name] = value);
            }
        }
    }
}
