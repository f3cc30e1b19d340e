use super::*;
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn versions_lie_in_the_order_of_precedence() {
    let ascending = [
        "0",
        "0.0.0.1",
        "0.0.1",
        "0.1",
        "1.0-0",
        "1.0-1",
        "1.0-2",
        "1.0-10",
        "1.0-18446744073709551615",
        "1.0-18446744073709551616",
        "1.0--",
        "1.0--1",
        "1.0-1a",
        "1.0-SNAPSHOT",
        "1.0-alpha",
        "1.0-alpha.0",
        "1.0-alpha.1",
        "1.0-alpha.1.0",
        "1.0-alpha.beta",
        "1.0-alpha-",
        "1.0-alphabet",
        "1.0-beta",
        "1.0-beta.2",
        "1.0-beta.11",
        "1.0-rc.1",
        "1.0",
        "1.0.0.1-rc",
        "1.0.0.1",
        "1.0.0.9",
        "1.0.0.10",
        "1.0.1-0",
        "1.0.1",
        "1.2.3",
        "1.2.3.4-1",
        "1.2.3.4",
        "1.2.4-rc",
        "1.2.4",
        "1.10",
        "2.0",
        "2024.01.05",
        "2024.11",
        "9999999999",
        "18446744073709551614",
        "18446744073709551615",
    ];
    assert_ascending(&ascending);
}

fn assert_ascending(texts: &[&str]) {
    for pair in texts.windows(2) {
        let (smaller, larger) = (version(pair[0]), version(pair[1]));
        assert!(smaller < larger, "{smaller} < {larger}");
        assert!(
            smaller.sort_key() < larger.sort_key(),
            "keys of {smaller} and {larger}"
        );
    }
}

#[test]
fn the_order_is_the_one_that_the_documentation_shows() {
    let documentation = include_str!("../../../../docs/versions.md");
    let (_, block) = documentation.split_once("```text\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let ascending: Vec<&str> = block.lines().collect();
    assert!(ascending.len() > 20);
    assert_ascending(&ascending);
}

/// They are stored: with another one a report would lie where nobody looks for it.
#[test]
fn what_was_accepted_keeps_its_key() {
    for (text, key) in [
        ("0", "0100100100103"),
        ("v1.2.3.40", "01101201302403"),
        ("2024.01.05", "0420240110150103"),
        ("18446744073709551615", "20184467440737095516150100100103"),
        ("1.0-0", "01101001001010100"),
        ("1.0-rc.01", "0110100100102rc!10110"),
        ("1.0-rc1", "0110100100102rc1!0"),
        ("1.0-SNAPSHOT", "0110100100102SNAPSHOT!0"),
        ("1.0.0-Final", "0110100100102Final!0"),
        ("1.0.0-post.1", "0110100100102post!10110"),
        ("1.0.0.1---1a+b", "0110100100112--1a!0"),
        (
            "1-18446744073709551616",
            "011010010010120184467440737095516160",
        ),
        ("2024-1-5", "04202401001001021-5!0"),
        ("2024-01-05.2", "042024010010010201-05!10120"),
        ("2024-13-01", "042024010010010213-01!0"),
        ("1.2024-01-05", "011042024010010201-05!0"),
    ] {
        assert_eq!(version(text).sort_key(), key, "{text}");
    }
}

#[test]
fn spellings_of_one_version_have_one_key() {
    for (one, other) in [
        ("1", "1.0.0.0"),
        ("v1.2", "1.2.0"),
        ("V1.2", "1.2"),
        ("2024.01.05", "2024.1.5"),
        ("1.0+a", "1.0+b.c-d"),
        ("1.0-rc.01", "1.0-rc.1"),
        ("1.0-rc.000", "1.0-rc.0"),
        ("00", "0"),
        ("1.0-a+b-c", "1.0-a"),
        ("2024-01-05", "2024.01.05"),
        ("v2024-12-31+a", "2024.12.31"),
        ("5.3.1.RELEASE", "5.3.1"),
        ("1.0.0.Final", "v1+b"),
        ("1.2.3.4.GA", "1.2.3.4"),
        ("1.0_ga", "1.0final"),
        ("1.0rc1", "1.0.0.0.RC-01"),
        ("1.0c1", "1.0_CR_1"),
        ("1.0pre1", "1.0preview.1"),
        ("1.0a", "1.0.Alpha0"),
        ("1.0b2", "1.0.BETA-2"),
        ("1.0m3", "1.0.Milestone3"),
        ("1.0.dev", "1.0DEV_0+g1f2"),
        ("1.0.post4", "1.0.SP4"),
        ("1.0r4", "1.0.rev4"),
        ("1.0rc1.dev2", "1.0rc1dev2"),
        ("1.0.Beta1-SNAPSHOT", "1.0b1snapshot"),
        ("1.0a1.post2.dev3", "1.0A.1-POST.2_DEV3"),
    ] {
        assert_eq!(version(one), version(other), "{one} {other}");
        assert_eq!(
            version(one).sort_key(),
            version(other).sort_key(),
            "{one} {other}"
        );
        assert_eq!(version(one).as_str(), one);
    }
}

#[test]
fn what_is_no_version_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        ("1..2", "'' is not a number"),
        (".1", "'' is not a number"),
        ("1..rc1", "'' is not a number"),
        ("1.-rc", "'' is not a number"),
        ("1.2.3.4.5", "it has more than 4 numbers"),
        ("1.2.3.4.5rc1", "it has more than 4 numbers"),
        (
            "1!2.0",
            "its epoch '1!' has no place among versions without one: leave it out",
        ),
        (
            "18446744073709551616",
            "the number 18446744073709551616 is larger than 18446744073709551615",
        ),
        (
            "1.0-",
            "'' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
        ),
        (
            "1.0-a..b",
            "'a..b' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
        ),
        (
            "1.0-ä",
            "'ä' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
        ),
        (
            "1.0+",
            "'' is not build metadata: identifiers are letters, digits and '-', separated by dots",
        ),
        (
            "1.0+a+b",
            "'a+b' is not build metadata: identifiers are letters, digits and '-', separated by dots",
        ),
    ] {
        assert_eq!(
            text.parse::<Version>().unwrap_err().to_string(),
            reason,
            "{text}"
        );
    }
    for text in [
        "latest",
        "not provided",
        "v",
        "vv1",
        " 1",
        "-rc",
        "rc1",
        "!1",
    ] {
        assert_eq!(text.parse::<Version>(), Err(InvalidVersion::NoNumber));
        let reason = InvalidVersion::NoNumber.to_string();
        assert!(reason.contains("such as 1.4.0"), "{reason}");
    }
    for (text, suffix) in [
        ("1.x", "x"),
        ("1.٣", "٣"),
        ("1.0.jre11", "jre11"),
        ("1.0__rc1", "_rc1"),
        ("1.0rc1.", "rc1."),
        ("1.0rc1.2", "rc1.2"),
        ("1.0rc1-", "rc1-"),
        ("1.0rcdev1", "rcdev1"),
        // It would be a guess what these mean.
        ("1.0a1b2", "a1b2"),
        ("1.0.dev1.post2", "dev1.post2"),
        ("1.0.Final1", "Final1"),
        ("1.0.Final.SP1", "Final.SP1"),
        ("1.0 rc1", " rc1"),
    ] {
        let error = text.parse::<Version>().unwrap_err();
        assert_eq!(
            error,
            InvalidVersion::Qualifier(suffix.to_owned()),
            "{text}"
        );
        let reason = error.to_string();
        assert!(reason.contains("behind a '-' as a pre-release"), "{reason}");
    }
    assert!("1".repeat(MAX_LENGTH + 1).parse::<Version>().is_err());
    assert_eq!(
        format!("1-{}", "a".repeat(MAX_LENGTH))
            .parse::<Version>()
            .unwrap_err(),
        InvalidVersion::TooLong
    );
}

#[test]
fn a_range_holds_its_bounds_whatever_is_appended_to_a_key() {
    let range = VersionRange::ALL
        .at_least(version("1.0-rc"))
        .at_most(version("1.2"));
    let (from, to) = range.key_bounds().unwrap();
    for (text, inside) in [
        ("1.0-beta", false),
        ("1.0-rc", true),
        ("1.0-rc.1", true),
        ("1.0", true),
        ("1.2.0+x", true),
        ("1.2-a", true),
        ("1.2.0.1", false),
        ("1.3-a", false),
        ("1.0.CR1", false),
        ("1.0.Final", true),
        ("1.2.Final", true),
        ("1.2rc1", true),
        ("1.2.post1", false),
    ] {
        let key = format!("{}/2025-01-01/id", version(text).sort_key());
        assert_eq!(from <= key && key <= to, inside, "{text}");
    }
    assert!(
        VersionRange::ALL
            .at_least(version("2"))
            .at_most(version("1"))
            .key_bounds()
            .is_none()
    );
    let narrowed = VersionRange::ALL
        .at_least(version("1"))
        .at_least(version("3"))
        .at_least(version("2"));
    assert_eq!(narrowed.key_bounds().unwrap().0, version("3").sort_key());
}

/// Identifiers that collide often: short ones of few characters, and numbers at the borders of 64 bits.
fn identifier() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,3}",
        "[a-bA-B0-1-]{1,3}",
        "1844674407370955161[0-9]{1,2}",
        "[0-9A-Za-z-]{1,12}"
    ]
    .prop_map(|text| without_leading_zeros(&text).to_owned())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3_u64,
        8..12_u64,
        98..102_u64,
        (u64::MAX - 2)..=u64::MAX,
        any::<u64>()
    ]
}

fn semantic_version() -> impl Strategy<Value = semver::Version> {
    let prerelease = prop::collection::vec(identifier(), 0..4);
    (number(), number(), number(), prerelease).prop_map(|(major, minor, patch, prerelease)| {
        semver::Version {
            major,
            minor,
            patch,
            pre: Prerelease::new(&prerelease.join(".")).unwrap(),
            build: BuildMetadata::EMPTY,
        }
    })
}

/// What a version in the ways of Python and Maven means: its numbers, and its words by their order with their numbers,
/// ended by the release's.
type Meaning = (Vec<u64>, Vec<(usize, u64)>);

/// The words in their order.
const WORDS: [&[&str]; 8] = [
    &["dev"],
    &["a", "alpha"],
    &["b", "beta"],
    &["m", "milestone"],
    &["rc", "c", "cr", "pre", "preview"],
    &["snapshot"],
    &["release", "final", "ga"],
    &["post", "sp", "rev", "r"],
];
const OF_RELEASE: usize = 6;
const OF_POST: usize = 7;

/// A qualifier of one of these ranks in one of its spellings, with what it means.
fn qualifier(ranks: &'static [usize]) -> impl Strategy<Value = (String, (usize, u64))> {
    let words = prop::sample::select(ranks)
        .prop_flat_map(|rank| prop::sample::select(WORDS[rank]).prop_map(move |word| (rank, word)));
    let number = prop_oneof![Just(None), number().prop_map(Some)];
    (words, number, any::<bool>(), "[._-]?", "0?").prop_map(
        |((rank, word), number, is_upper, separator, zero)| {
            let word = if is_upper {
                word.to_uppercase()
            } else {
                word.to_owned()
            };
            let text = match number {
                Some(number) => format!("{word}{separator}{zero}{number}"),
                // Without a separator the next word would be part of this one.
                None => word + "0",
            };
            (text, (rank, number.unwrap_or_default()))
        },
    )
}

/// A version that has no `-` right behind its numbers, and what it means.
fn mapped_version() -> impl Strategy<Value = (String, Meaning)> {
    let numbers = prop::collection::vec(0..3_u64, 1..=4);
    let qualifiers = (
        prop::option::of(qualifier(&[1, 2, 3, 4])),
        prop::option::of(qualifier(&[OF_POST])),
        prop::option::of(qualifier(&[0, 5])),
    );
    let separators = ("[._]?", "[._-]?", "[._-]?");
    let release = prop::option::of(prop::sample::select(WORDS[OF_RELEASE]));
    (numbers, qualifiers, separators, release).prop_map(
        |(mut numbers, qualifiers, separators, release)| {
            let joined: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let mut text = joined.join(".");
            numbers.resize(MAX_NUMBERS, 0);
            let mut separators = [separators.0, separators.1, separators.2].into_iter();
            let mut meaning = Vec::new();
            for (word, means) in [qualifiers.0, qualifiers.1, qualifiers.2]
                .into_iter()
                .flatten()
            {
                text = text + &separators.next().unwrap() + &word;
                meaning.push(means);
            }
            if let (true, Some(word)) = (meaning.is_empty(), release) {
                text = text + &separators.next().unwrap() + word;
            }
            meaning.push((OF_RELEASE, 0));
            (text, (numbers, meaning))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_order_of_keys_is_the_precedence_of_semver(one in semantic_version(), other in semantic_version()) {
        prop_assume!(one.to_string().len() <= MAX_LENGTH && other.to_string().len() <= MAX_LENGTH);
        let (ours, theirs) = (version(&one.to_string()), version(&other.to_string()));
        prop_assert_eq!(ours.sort_key().cmp(theirs.sort_key()), one.cmp_precedence(&other));
        prop_assert_eq!(ours.cmp(&theirs), one.cmp_precedence(&other));
        prop_assert!(one == other || !ours.sort_key().starts_with(theirs.sort_key()));
    }

    #[test]
    fn the_fourth_number_lies_between_patches(one in semantic_version(), fourth in number(), other in number()) {
        let (one, fourth) = (semver::Version::new(one.major, one.minor, one.patch.min(u64::MAX - 1)), fourth.max(1));
        let with = |fourth: u64| version(&format!("{one}.{fourth}"));
        let next = version(&semver::Version { patch: one.patch + 1, ..one.clone() }.to_string());
        prop_assert!(version(&one.to_string()).sort_key() < with(fourth).sort_key());
        prop_assert!(with(fourth).sort_key() < next.sort_key());
        prop_assert_eq!(with(fourth).sort_key().cmp(with(other).sort_key()), fourth.cmp(&other));
    }

    #[test]
    fn the_order_of_keys_is_the_precedence_of_python_and_maven(
        (one, its_meaning) in mapped_version(),
        (other, others_meaning) in mapped_version(),
    ) {
        let (one, other) = (version(&one), version(&other));
        prop_assert_eq!(one.sort_key().cmp(other.sort_key()), its_meaning.cmp(&others_meaning));
        prop_assert_eq!(one.cmp(&other), its_meaning.cmp(&others_meaning));
        prop_assert!(one == other || !one.sort_key().starts_with(other.sort_key()));
    }

    #[test]
    fn what_python_and_maven_write_lies_among_the_versions_of_semver(
        (mapped, (numbers, words)) in mapped_version(),
        identifier in identifier(),
    ) {
        let mapped = version(&mapped);
        let core: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let core = core.join(".");
        let release = version(&core);
        let is_release = words.len() == 1;
        let is_after = words[0].0 == OF_POST;
        prop_assert_eq!(mapped == release, is_release);
        prop_assert_eq!(mapped > release, is_after);
        // Behind every number of SemVer and before all of its words; and before every version with a larger number.
        let prerelease = version(&format!("{core}-{identifier}"));
        let precedes = is_release || is_after || is_numeric(&identifier);
        prop_assert_eq!(prerelease < mapped, precedes, "{} {}", prerelease, mapped);
        let next = version(&format!("{}.{}.{}.{}-0", numbers[0], numbers[1], numbers[2], numbers[3] + 1));
        prop_assert!(mapped < next);
        prop_assert!(!prerelease.sort_key().starts_with(mapped.sort_key()));
        prop_assert!(!mapped.sort_key().starts_with(prerelease.sort_key()));
    }

    #[test]
    fn a_day_is_the_same_with_dots(year in 0..10_000_u32, month in 1..=12_u32, day in 1..=28_u32) {
        let dotted = version(&format!("{year:04}.{month:02}.{day:02}"));
        prop_assert_eq!(version(&format!("{year:04}-{month:02}-{day:02}")), dotted);
    }

    #[test]
    fn any_text_is_a_version_or_an_error(text in ".{0,120}") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.as_str(), &text);
            prop_assert!(version.sort_key().len() < 512);
        }
    }

    #[test]
    fn nearly_versions_are_versions_or_errors(text in "[vV]?[0-9.]{0,8}[-+_a.0 ]{0,8}(rc|dev|post|Final)?[-_.0-9]{0,3}") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.cmp(&text.parse::<Version>().unwrap()), Ordering::Equal);
        }
    }
}
