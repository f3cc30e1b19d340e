//! Names of files and folders, compared as the file systems compare them on which an archive is unpacked.

use icu_casemap::CaseMapper;
use unicode_normalization::UnicodeNormalization as _;

/// The same text for all names that are one name on some file system.
///
/// The file systems of macOS and Windows ignore letter case, and that of macOS does not distinguish composed from decomposed
/// characters. Unicode calls this a canonical caseless match (The Unicode Standard, 3.13, D145). It uses full case folding,
/// in which `ß` is `ss` and `ﬁ` is `fi`. Neither lower nor upper case does that: `ẞ` has no other upper case, and its lower
/// case is `ß`. The name is decomposed first, so that composed and decomposed forms fold alike.
pub fn folded(name: &str) -> String {
    let decomposed: String = name.nfd().collect();
    CaseMapper::new().fold_string(&decomposed).nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_fold_alike_are_one() {
        for (one, other) in [
            ("Report.HTML", "report.html"),
            ("Straße.html", "STRASSE.html"),
            ("STRAẞE", "strasse"),
            ("\u{e4}", "A\u{308}"),
            ("ΑΣ", "ας"),
            ("ﬁle", "FILE"),
            // The signs of Kelvin and of Ångström.
            ("\u{212a}", "k"),
            ("\u{212b}", "a\u{30a}"),
            ("ſ", "S"),
            ("ŉ", "ʼN"),
            ("\u{1f0}", "J\u{30c}"),
            ("\u{13f0}", "\u{13f8}"),
            // The iota below is a mark before it is folded and a letter behind, so its place must be settled first.
            ("\u{1fb4}", "\u{3b1}\u{345}\u{301}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
    }

    #[test]
    fn other_names_are_told_apart() {
        for (one, other) in [
            ("a", "b"),
            ("a", "ä"),
            ("Strase", "Straße"),
            ("i", "ı"),
            // One name for a reader, and two for every file system.
            ("a b", "a\u{a0}b"),
            ("1", "\u{2460}"),
        ] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn letter_case_and_form_make_no_difference(name in "\\PC{0,20}") {
            let folded_name = folded(&name);
            prop_assert_eq!(folded(&folded_name), folded_name.as_str());
            prop_assert_eq!(folded(&name.nfc().collect::<String>()), folded_name.as_str());
            prop_assert_eq!(folded(&name.nfd().collect::<String>()), folded_name.as_str());
        }
    }
}
