//! Texts of others in lines of a log.

/// Whether something that shows a text may begin a new line there, take the character for a command, or show the rest of the
/// line in another order. U+2028 and U+2029 separate lines and paragraphs, and are no control characters; nor are those of
/// bidirectional text (Unicode Standard Annex #9, section 2).
pub fn is_broken_by(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
