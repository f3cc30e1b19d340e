//! Names of folders and files in an archive: made for a reader, and harmless on any system that unpacks it.

use std::collections::HashSet;

use domain::report::Report;
use unicode_normalization::UnicodeNormalization as _;

/// How much of a project's name and of a branch stands in a folder's name, in bytes. With a version and a report type of
/// 100 characters, which are mostly ASCII and short, the whole stays below what common file systems allow (255).
const MAX_NAME_BYTES: usize = 80;
/// The longest folder name in bytes, less than 255 by some room for a number.
const MAX_FOLDER_BYTES: usize = 240;

/// Names that Windows keeps for devices, with any extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
/// And these followed by a digit.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// The name of a report's folder: `Test product 1.0 CWE Top 25 2024`, with the branch at the end when it has one.
pub(crate) fn folder(report: &Report) -> String {
    let it = &report.metadata;
    let name = shortened(&it.project_name, MAX_NAME_BYTES);
    let mut folder = format!(
        "{name} {} {} {}",
        it.project_version, it.report_type, it.report_version
    );
    if let Some(branch) = &it.branch {
        folder = folder + " " + shortened(branch, MAX_NAME_BYTES);
    }
    safe(&folder, MAX_FOLDER_BYTES)
}

/// A file's name as it stands in the archive.
pub(crate) fn file(name: &str) -> String {
    safe(name, usize::MAX)
}

/// Names that are already taken in one folder. Letter case does not tell names apart: on many systems it does not.
#[derive(Default)]
pub(crate) struct Taken(HashSet<String>);

impl Taken {
    /// `stem` + `extension`, or the first of `stem (2)`, `stem (3)`, … that is free.
    pub(crate) fn unique(&mut self, stem: &str, extension: &str) -> String {
        let mut name = format!("{stem}{extension}");
        let mut number = 2;
        while !self.0.insert(name.to_lowercase()) {
            name = format!("{stem} ({number}){extension}");
            number += 1;
        }
        name
    }
}

/// `text` as one component of a path: nothing in it separates, escapes, hides, or is forbidden on Windows.
fn safe(text: &str, max_bytes: usize) -> String {
    let replaced: String = text
        .nfc()
        .map(|char| if is_unsafe(char) { '_' } else { char })
        .collect();
    // Windows drops dots and spaces at the end; a dot at the beginning hides a file elsewhere.
    let name = shortened(&replaced, max_bytes)
        .trim_start_matches([' ', '.'])
        .trim_end_matches([' ', '.']);
    // A name that begins with '-' looks like an option when a shell lists it.
    if name.is_empty() || name.starts_with('-') || is_device(name) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

/// The beginning of a text that has at most `max_bytes`.
fn shortened(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

fn is_unsafe(char: char) -> bool {
    let separates = matches!(char, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    // Zero width, direction overrides and isolates: a name that shows otherwise than it is.
    let deceives = matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    separates || deceives || char.is_control()
}

fn is_device(name: &str) -> bool {
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_lowercase();
    let numbered = NUMBERED_DEVICES
        .iter()
        .filter_map(|device| stem.strip_prefix(device))
        .any(|number| {
            number.chars().count() == 1 && number.chars().all(|char| "0123456789¹²³".contains(char))
        });
    numbered || DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_harmless_and_readable() {
        for (given, safe_name) in [
            (
                "Test product 1.0 CWE Top 25 2024",
                "Test product 1.0 CWE Top 25 2024",
            ),
            ("../../etc/passwd.html", "_.._etc_passwd.html"),
            ("a\\b:c*d?e\"f<g>h|i", "a_b_c_d_e_f_g_h_i"),
            ("Отчёт №5.pdf", "Отчёт №5.pdf"),
            ("-rf.html", "_-rf.html"),
            ("a\u{308}.html", "\u{e4}.html"),
            ("con", "_con"),
            ("NUL.html", "_NUL.html"),
            ("com7.pdf", "_com7.pdf"),
            ("com.pdf", "com.pdf"),
            ("console", "console"),
            ("ends with dots...", "ends with dots"),
            ("...", "_"),
            ("", "_"),
            ("evil\u{202e}fdp.html", "evil_fdp.html"),
            ("tab\tnew\nline\u{7f}", "tab_new_line_"),
        ] {
            assert_eq!(safe(given, 150), safe_name, "{given:?}");
        }
    }

    #[test]
    fn equal_names_get_a_number() {
        let mut taken = Taken::default();
        let mut unique = |stem| taken.unique(stem, ".html");
        assert_eq!(
            ["a", "A", "a", "a (2)"].map(&mut unique),
            ["a.html", "A (2).html", "a (3).html", "a (2) (2).html"]
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_safe_component(text in any::<String>(), max in 1..300_usize) {
            let name = safe(&text, max);
            prop_assert!(!name.is_empty() && name.len() <= max + 1);
            prop_assert!(!name.chars().any(is_unsafe) && !name.starts_with('.') && !is_device(&name));
        }
    }
}
