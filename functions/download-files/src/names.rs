//! Names of folders and files in an archive: readable, and harmless on any system that unpacks it.

use std::collections::HashSet;

use domain::name::folded;
use domain::report::Report;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

/// The longest name of a folder and of a file, in bytes. A number that makes a name unique comes in addition.
///
/// For many programs on Windows a path has at most 260 characters (`MAX_PATH`,
/// <https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation>). So a folder and a file together leave
/// some hundred characters for the place where the archive is unpacked. Info-ZIP writes characters that its locale lacks in
/// up to three times as many bytes (`#U0416`), and common file systems allow 255.
const MAX_BYTES: usize = 80;

/// Names that Windows reserves for devices, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// These too, when a digit follows.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// The kinds of a report's files.
const EXTENSIONS: [&str; 2] = [".html", ".pdf"];

/// The name of a report's folder: `Test product 1.0 CWE Top 25 2024`, with the branch at the end if there is one. A name that
/// is too long gives each part its share, since each part may distinguish the report from another one.
pub fn folder(report: &Report) -> String {
    let it = &report.metadata;
    let version = it.project_version.to_string();
    let number = it.report_version.to_string();
    let parts = [&it.project_name, &version, &it.report_type, &number];
    let parts = parts.into_iter().chain(&it.branch);
    let parts: Vec<String> = parts.map(|part| harmless(part)).collect();
    component(&joined(&parts, MAX_BYTES), MAX_BYTES)
}

/// A file's name in the archive: the part before the extension, and the extension.
pub fn file(name: &str) -> (String, String) {
    let name = harmless(name);
    let lower = name.to_ascii_lowercase();
    let extension = EXTENSIONS.iter().find(|it| lower.ends_with(*it));
    let (stem, extension) = name.split_at(name.len() - extension.map_or(0, |it| it.len()));
    let stem = component(stem, MAX_BYTES - extension.len());
    (stem, extension.to_owned())
}

/// Names that are taken in one folder. Names that some file system treats as one count as one.
#[derive(Default)]
pub struct Taken(HashSet<String>);

impl Taken {
    /// `stem` + `extension`, or the first of `stem (2)`, `stem (3)`, … that is free.
    pub fn unique(&mut self, stem: &str, extension: &str) -> String {
        let mut name = format!("{stem}{extension}");
        let mut number = 2;
        while !self.0.insert(folded(&name)) {
            name = format!("{stem} ({number}){extension}");
            number += 1;
        }
        name
    }
}

/// The parts with a space between them, in at most `max_bytes`. If that is too little, the longest parts are cut to one
/// length.
fn joined(parts: &[String], max_bytes: usize) -> String {
    let spaces = parts.len().saturating_sub(1);
    let fits = |share: &usize| {
        let bytes: usize = parts.iter().map(|part| part.len().min(*share)).sum();
        bytes + spaces <= max_bytes
    };
    let share = (0..=max_bytes).rev().find(fits).unwrap_or_default();
    let parts = parts.iter().map(|part| shortened(part, share));
    parts.collect::<Vec<_>>().join(" ")
}

/// The text without characters that do harm in a name. It is composed, and another composition does not change it. Otherwise
/// a system that composes names could make one too long.
fn harmless(text: &str) -> String {
    text.nfc()
        .map(|char| if is_unsafe(char) { '_' } else { char })
        .collect()
}

/// A harmless text as one component of a path, of at most `max_bytes`. Nothing in it escapes, hides, or is forbidden on
/// Windows.
fn component(text: &str, max_bytes: usize) -> String {
    // Windows drops dots and spaces at the end. A dot at the beginning hides a file elsewhere.
    let fitting = |text: &str| {
        shortened(text, max_bytes)
            .trim_end_matches([' ', '.'])
            .to_owned()
    };
    let name = fitting(text.trim_start_matches([' ', '.']));
    // A name that begins with '-' looks like an option when a shell lists it.
    if name.is_empty() || name.starts_with('-') || is_device(&name) {
        fitting(&format!("_{name}"))
    } else {
        name
    }
}

/// The beginning of a text, of at most `max_bytes`.
fn shortened(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

fn is_unsafe(char: char) -> bool {
    let separates = matches!(char, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    // Characters that are invisible, change the direction or break the line: with them a name looks different from what it
    // is, or like another one.
    let category = CodePointMapData::<GeneralCategory>::new().get(char);
    let deceives = matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    // Some letters and marks are invisible too, such as the fillers of Hangul and the variation selectors.
    let is_invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char);
    separates || deceives || is_invisible
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
    use ::tests::samples::stored_report;
    use ::tests::system::organization;
    use proptest::prelude::*;
    use rstest::rstest;

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
            ("CONIN$", "_CONIN$"),
            ("conout$.html", "_conout$.html"),
            ("conout.html", "conout.html"),
            ("CON .html", "_CON .html"),
            ("lpt\u{b2}", "_lpt\u{b2}"),
        ] {
            assert_eq!(safe(given, 150), safe_name, "{given:?}");
        }
    }

    fn safe(text: &str, max_bytes: usize) -> String {
        component(&harmless(text), max_bytes)
    }

    #[rstest]
    // Format characters: soft hyphen, Arabic and Mongolian marks, widths of zero, directions, isolates, tags.
    #[case::soft_hyphen('\u{ad}')]
    #[case::arabic_number_sign('\u{600}')]
    #[case::arabic_letter_mark('\u{61c}')]
    #[case::arabic_end_of_ayah('\u{6dd}')]
    #[case::syriac_abbreviation_mark('\u{70f}')]
    #[case::arabic_disputed_end_of_ayah('\u{8e2}')]
    #[case::mongolian_vowel_separator('\u{180e}')]
    #[case::zero_width_space('\u{200b}')]
    #[case::zero_width_joiner('\u{200d}')]
    #[case::left_to_right_mark('\u{200e}')]
    #[case::right_to_left_mark('\u{200f}')]
    #[case::left_to_right_embedding('\u{202a}')]
    #[case::right_to_left_override('\u{202e}')]
    #[case::word_joiner('\u{2060}')]
    #[case::invisible_plus('\u{2064}')]
    #[case::left_to_right_isolate('\u{2066}')]
    #[case::pop_directional_isolate('\u{2069}')]
    #[case::nominal_digit_shapes('\u{206f}')]
    #[case::zero_width_no_break_space('\u{feff}')]
    #[case::interlinear_annotation_anchor('\u{fff9}')]
    #[case::interlinear_annotation_terminator('\u{fffb}')]
    #[case::kaithi_number_sign('\u{110bd}')]
    #[case::egyptian_hieroglyph_vertical_joiner('\u{13430}')]
    #[case::shorthand_format_letter_overlap('\u{1bca0}')]
    #[case::musical_symbol_begin_beam('\u{1d173}')]
    #[case::language_tag('\u{e0001}')]
    #[case::tag_space('\u{e0020}')]
    #[case::tag_latin_small_letter_a('\u{e0061}')]
    #[case::cancel_tag('\u{e007f}')]
    // Fillers.
    #[case::hangul_choseong_filler('\u{115f}')]
    #[case::hangul_jungseong_filler('\u{1160}')]
    #[case::hangul_filler('\u{3164}')]
    #[case::halfwidth_hangul_filler('\u{ffa0}')]
    // Others that are not seen: the joiner of graphemes, vowels of Khmer, selectors, and what may become such.
    #[case::combining_grapheme_joiner('\u{34f}')]
    #[case::khmer_vowel_inherent_aq('\u{17b4}')]
    #[case::mongolian_free_variation_selector_one('\u{180b}')]
    #[case::unassigned_2065('\u{2065}')]
    #[case::variation_selector_16('\u{fe0f}')]
    #[case::unassigned_e0000('\u{e0000}')]
    #[case::unassigned_e0080('\u{e0080}')]
    #[case::variation_selector_17('\u{e0100}')]
    #[case::unassigned_e0fff('\u{e0fff}')]
    // Line breaks and controls.
    #[case::null('\u{0}')]
    #[case::unit_separator('\u{1f}')]
    #[case::delete('\u{7f}')]
    #[case::next_line('\u{85}')]
    #[case::application_program_command('\u{9f}')]
    #[case::line_separator('\u{2028}')]
    #[case::paragraph_separator('\u{2029}')]
    fn what_is_not_seen_or_deceives_is_replaced(#[case] char: char) {
        assert_eq!(safe(&format!("a{char}b"), 80), "a_b");
    }

    #[test]
    fn what_is_seen_is_left() {
        for char in [
            'é', 'ж', '語', '한', 'ᄀ', '€', '№', '😀', '\u{a0}', '\u{301}',
        ] {
            let name = format!("q{char}b");
            assert_eq!(safe(&name, 80), name);
        }
    }

    #[test]
    fn the_limit_holds_for_the_composed_name() {
        // Each of these has three times as many bytes when it is composed.
        for char in ['\u{1d160}', '\u{fb2c}', '\u{958}', '\u{1f82}'] {
            let name = char.to_string().repeat(60);
            let (stem, extension) = file(&format!("{name}.HTML"));
            assert_eq!(extension, ".HTML");
            assert!((70..=75).contains(&stem.len()), "{char:?}: {}", stem.len());
            assert_eq!(stem.nfc().collect::<String>(), stem);
        }
        // It is cut before it is looked at: what is left may be a device.
        let (stem, _) = file(&format!("con{}x.html", " ".repeat(100)));
        assert_eq!(stem, "_con");
        let (stem, _) = file(&format!("-{}.html", "x".repeat(100)));
        assert_eq!((stem.len(), &stem[..2]), (75, "_-"));
    }

    #[test]
    fn of_a_long_folder_each_part_has_its_share() {
        let mut report = stored_report(organization(), 0);
        let it = &mut report.metadata;
        it.project_name = "Product".to_owned();
        it.project_version = "1.0".parse().unwrap();
        it.report_type = "CWE Top 25".to_owned();
        it.report_version = 2024;
        assert_eq!(folder(&report), "Product 1.0 CWE Top 25 2024");
        report.metadata.project_name = "n".repeat(500);
        report.metadata.branch = Some("b".repeat(255));
        let expected = format!("{} 1.0 CWE Top 25 2024 {}", "n".repeat(29), "b".repeat(29));
        assert_eq!(folder(&report), expected);
        report.metadata.branch = None;
        let expected = format!("{} 1.0 CWE Top 25 2024", "n".repeat(60));
        assert_eq!(folder(&report), expected);
    }

    #[test]
    fn equal_names_get_a_number() {
        let mut taken = Taken::default();
        let mut unique = |stem| taken.unique(stem, ".html");
        assert_eq!(
            ["a", "A", "a", "a (2)"].map(&mut unique),
            ["a.html", "A (2).html", "a (3).html", "a (2) (2).html"]
        );
        assert_eq!(
            ["straße", "STRASSE", "STRAẞE", "Ας", "ασ", "ﬁ", "FI"].map(&mut unique),
            [
                "straße.html",
                "STRASSE (2).html",
                "STRAẞE (3).html",
                "Ας.html",
                "ασ (2).html",
                "ﬁ.html",
                "FI (2).html"
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_safe_component(text in any::<String>(), max in 1..300_usize) {
            let name = safe(&text, max);
            prop_assert!(!name.is_empty() && name.len() <= max);
            prop_assert!(!name.chars().any(is_unsafe) && !name.starts_with('.') && !is_device(&name));
            prop_assert!(!name.ends_with([' ', '.']));
            prop_assert_eq!(name.nfc().collect::<String>(), name);
        }

        #[test]
        fn names_of_one_folder_are_told_apart_and_have_a_limit(
            names in prop::collection::vec("(con|[ .]{0,3})([a-bA-B]|[äßẞς\u{fb2c}\u{1d160}\u{ad}]){0,70}\\.(html|PDF)", 1..20),
        ) {
            let mut taken = Taken::default();
            let mut seen = HashSet::new();
            for name in &names {
                let (stem, extension) = file(name);
                prop_assert!(stem.len() + extension.len() <= MAX_BYTES);
                let unique = taken.unique(&stem, &extension);
                prop_assert!(unique.len() <= MAX_BYTES + " (20)".len() && !is_device(&unique));
                prop_assert!(seen.insert(folded(&unique)), "{}", unique);
            }
        }
    }
}
