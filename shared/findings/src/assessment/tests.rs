use proptest::prelude::*;

use super::*;

fn counts(of: [u64; 5]) -> Counts {
    Counts(of)
}

#[test]
fn the_worst_that_is_open_decides_the_rating_and_not_how_many() {
    for (open, rating) in [
        ([0, 0, 0, 0, 0], Rating::A),
        ([0, 0, 0, 0, 900], Rating::A),
        ([0, 0, 0, 1, 900], Rating::B),
        ([0, 0, 1, 900, 0], Rating::C),
        ([0, 1, 0, 0, 0], Rating::D),
        ([1, 0, 0, 0, 0], Rating::E),
    ] {
        assert_eq!(counts(open).rating(), rating, "{open:?}");
    }
}

#[test]
fn a_category_that_no_rule_looks_for_has_no_rating() {
    let category = |active_rules, open| Category {
        active_rules,
        open: counts(open),
        ..Category::default()
    };
    assert_eq!(category(Some(0), [0; 5]).rating(), None);
    assert_eq!(category(Some(1), [0; 5]).rating(), Some(Rating::A));
    assert_eq!(category(None, [0; 5]).rating(), Some(Rating::A));
    // Of a profile that was changed since.
    assert_eq!(category(Some(0), [0, 1, 0, 0, 0]).rating(), Some(Rating::D));
}

#[test]
fn of_hotspots_only_what_is_fixed_counts_as_reviewed() {
    for (to_review, fixed, rating) in [
        (0, 0, Rating::A),
        (0, 1, Rating::A),
        (1, 0, Rating::E),
        (20, 80, Rating::A),
        (201, 799, Rating::B),
        (30, 70, Rating::B),
        (301, 699, Rating::C),
        (50, 50, Rating::C),
        (501, 499, Rating::D),
        (70, 30, Rating::D),
        (701, 299, Rating::E),
    ] {
        let reviews = Reviews {
            to_review,
            fixed,
            safe: 1000,
            acknowledged: 1000,
        };
        assert_eq!(reviews.rating(), rating, "{to_review} and {fixed}");
    }
}

#[test]
fn of_each_category_the_worst_are_kept_first_and_then_the_worst_of_all() {
    use Severity::{Blocker, High, Low, Medium};
    let lists: [&[Severity]; 4] = [
        &[Low, Low, Low, Low],
        &[Blocker, High, High, Medium],
        &[],
        &[Medium, Medium, Medium],
    ];
    let ranks = lists.map(|list| list.iter().map(|it| *it as usize).collect());
    for (of_each, most, expected) in [
        (1, 100, [4, 4, 0, 3]),
        (1, 3, [1, 1, 0, 1]),
        (1, 4, [1, 2, 0, 1]),
        (1, 6, [1, 4, 0, 1]),
        (1, 7, [1, 4, 0, 2]),
        (1, 9, [2, 4, 0, 3]),
        (2, 3, [2, 1, 0, 0]),
        (0, 2, [0, 2, 0, 0]),
        (5, 0, [0, 0, 0, 0]),
    ] {
        let kept = shares(&ranks, of_each, most);
        assert_eq!(kept, expected, "{of_each} of each, {most} in all");
    }
}

proptest! {
    #[test]
    fn as_many_are_kept_as_may_be(sizes in proptest::collection::vec(0..40_usize, 0..8), of_each in 0..20_usize, most in 0..100_usize) {
        let ranks: Vec<Vec<usize>> =
            sizes.iter().map(|size| (0..*size).map(|index| index * 5 / size).collect()).collect();
        let kept = shares(&ranks, of_each, most);
        prop_assert_eq!(kept.iter().sum::<usize>(), most.min(sizes.iter().sum()));
        for (kept, size) in kept.iter().zip(&sizes) {
            prop_assert!(kept <= size);
        }
    }
}
