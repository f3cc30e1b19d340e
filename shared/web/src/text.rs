//! Texts of callers in error messages.

/// The beginning of a refused text, long enough to recognize it.
pub fn shortened(text: &str) -> String {
    const MAX: usize = 100;
    if text.chars().count() <= MAX {
        text.to_owned()
    } else {
        text.chars().take(MAX).chain("…".chars()).collect()
    }
}

/// `; did you mean 'known'?` for the nearest known name, when it is near enough to be meant.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    /// Below this similarity (Jaro–Winkler, 0 to 1) a suggestion misleads.
    const NEAR: f64 = 0.75;
    let nearest = known
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()),
                known,
            )
        })
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        None => "; the call takes none".to_owned(),
        Some((similarity, known)) if similarity >= NEAR => format!("; did you mean '{known}'?"),
        _ => format!("; known are {}", known.join(", ")),
    }
}
