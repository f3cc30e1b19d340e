//! Texts of others in the lines of a log.

/// Whether the character breaks a line where a text is shown. It may begin a new line, act as a control character, or show
/// the rest of the line in another order. U+2028 and U+2029 separate lines and paragraphs without being control characters.
/// The same holds for the characters of bidirectional text (Unicode Standard Annex #9, section 2).
pub fn is_broken_by(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
