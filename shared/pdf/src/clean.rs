//! Characters that are never drawn, whatever the fonts have. Their numbers are written out instead.
//!
//! The texts of a report come from others. A hidden character in them is either an accident or an attack (a path that reads
//! `exe.png` and is `gnp.exe`), so it is shown and not obeyed. PDF/A also forbids some of them.

use std::fmt::Write as _;

/// Which characters are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Whatever is visible and has a glyph.
    #[default]
    Visible,
    /// Only printable ASCII. This is the fallback if a document with [`Strictness::Visible`] cannot be written.
    Ascii,
}

/// Appends a text with plain white space. Characters that must not or cannot be drawn are written out. Gives how many were.
pub(crate) fn push(
    out: &mut String,
    text: &str,
    strictness: Strictness,
    has_glyph: impl Fn(char) -> bool,
) -> usize {
    let mut written = 0;
    let mut previous = None;
    for c in text.chars() {
        match c {
            // The second half of a Windows line end.
            '\n' if previous == Some('\r') => {}
            '\t' | '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            ' '..='~' => out.push(c),
            _ if strictness == Strictness::Ascii || is_hidden(c) || !has_glyph(c) => {
                write_out(out, c);
                written += 1;
            }
            _ => out.push(c),
        }
        previous = Some(c);
    }
    written
}

/// A text on one line, with hidden characters written out as numbers. It is for places with other fonts, such as the outline.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text, Strictness::Visible, |_| true);
    out
}

/// Appends a character's number, as in `[U+202E]`.
pub(crate) fn write_out(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = write!(out, "[U+{:04X}]", u32::from(c));
}

/// Whether a character is a control character, for private use, unassigned as a character, or ignored when text is drawn
/// (Unicode's `Default_Ignorable_Code_Point`: invisible direction, joining, variation and width).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || u32::from(c) & 0xFFFE == 0xFFFE
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{E000}'..='\u{F8FF}'
            | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFC}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..='\u{10FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> (String, usize) {
        let mut out = String::new();
        let written = push(&mut out, text, Strictness::Visible, |c| c != 'ไ');
        (out, written)
    }

    #[test]
    fn visible_text_stays() {
        let text = "Straße, κόσμος, мир, e\u{301}, שלום, 中";
        assert_eq!(clean(text), (text.to_owned(), 0));
    }

    #[test]
    fn white_space_becomes_spaces() {
        assert_eq!(clean("a\r\nb\tc\u{2028}d"), ("a b c d".to_owned(), 0));
    }

    #[test]
    fn hidden_characters_are_written_out() {
        let hidden = "\0\u{1b}\u{202E}\u{200B}\u{FEFF}\u{FE0F}\u{E000}\u{FFFE}\u{10FFFF}\u{E0041}";
        let (out, written) = clean(hidden);
        assert_eq!(written, 10);
        assert!(out.starts_with("[U+0000][U+001B][U+202E]"), "{out}");
        assert!(out.bytes().all(|b| (b' '..=b'~').contains(&b)), "{out}");
    }

    #[test]
    fn what_has_no_glyph_is_written_out() {
        assert_eq!(clean("aไb"), ("a[U+0E44]b".to_owned(), 1));
    }

    #[test]
    fn outside_the_pages_only_what_is_hidden_is_written_out() {
        assert_eq!(visible("中\u{202E}x\ny"), "中[U+202E]x y");
    }

    #[test]
    fn strict_text_is_ascii() {
        let mut out = String::new();
        assert_eq!(push(&mut out, "é中", Strictness::Ascii, |_| true), 2);
        assert_eq!(out, "[U+00E9][U+4E2D]");
    }
}
