//! The severity of a finding.

use domain::report::Rating;

use crate::Mode;

/// The severity of an issue, the worst first. Each of `SonarQube`'s two modes has five, which correspond one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Blocker in both modes.
    Blocker,
    /// Critical, or an impact that is high.
    High,
    /// Major, or medium.
    Medium,
    /// Minor, or low.
    Low,
    /// Info in both.
    Info,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 5] = [
        Self::Blocker,
        Self::High,
        Self::Medium,
        Self::Low,
        Self::Info,
    ];

    /// Its name in this mode, as `SonarQube` shows it.
    pub const fn name(self, mode: Mode) -> &'static str {
        let names = match mode {
            Mode::Standard => ["Blocker", "Critical", "Major", "Minor", "Info"],
            Mode::Mqr => ["Blocker", "High", "Medium", "Low", "Info"],
        };
        names[self as usize]
    }

    /// As `SonarQube`'s Web API writes it in this mode.
    pub const fn key(self, mode: Mode) -> &'static str {
        let keys = match mode {
            Mode::Standard => ["BLOCKER", "CRITICAL", "MAJOR", "MINOR", "INFO"],
            Mode::Mqr => ["BLOCKER", "HIGH", "MEDIUM", "LOW", "INFO"],
        };
        keys[self as usize]
    }

    /// The severity that a key of the Web API means, in either mode.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| {
            [Mode::Standard, Mode::Mqr]
                .iter()
                .any(|mode| severity.key(*mode) == key)
        })
    }

    /// The security rating when this is the worst open issue (`SonarQube`'s user guide, "Metric definitions"): E for a
    /// blocker, and A if there is only information.
    pub const fn rating(self) -> Rating {
        match self {
            Self::Blocker => Rating::E,
            Self::High => Rating::D,
            Self::Medium => Rating::C,
            Self::Low => Rating::B,
            Self::Info => Rating::A,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_the_web_api_has_its_severity_and_rating() {
        for (key, rating) in [
            ("INFO", Rating::A),
            ("MINOR", Rating::B),
            ("LOW", Rating::B),
            ("MAJOR", Rating::C),
            ("MEDIUM", Rating::C),
            ("CRITICAL", Rating::D),
            ("HIGH", Rating::D),
            ("BLOCKER", Rating::E),
        ] {
            let severity = Severity::of_key(key).unwrap();
            assert_eq!(severity.rating(), rating, "{key}");
        }
        assert_eq!(Severity::of_key("WORST"), None);
    }
}
