//! Text that came from a task, a worker or a user, on its way into a page.

use std::fmt::Write as _;

use maud::Render;

/// Whether a character steers what shows it, ends its line, or turns the direction of what follows, so that a text with it can be
/// read as another one. Such characters are never shown as they are.
///
/// ```
/// assert!("\u{1b}\u{9b}\n\u{202e}\u{2066}\u{2028}".chars().all(procession_report::misleads));
/// assert!(!"π ש 日".chars().any(procession_report::misleads));
/// ```
pub fn misleads(letter: char) -> bool {
    match letter {
        // Arabic letter mark; left-to-right and right-to-left marks; embeddings and overrides; isolates.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Line and paragraph separators.
        '\u{2028}' | '\u{2029}' => true,
        // Not characters.
        '\u{fdd0}'..='\u{fdef}' => true,
        _ => letter.is_control() || u32::from(letter) & 0xfffe == 0xfffe,
    }
}

/// Text of others: escaped, and with control characters as the pictures of them, so that a terminal's colour codes can
/// be told from what was said.
pub(crate) struct Foreign<'a>(pub(crate) &'a str);

impl Render for Foreign<'_> {
    fn render_to(&self, page: &mut String) {
        let mut plain = String::with_capacity(self.0.len());
        for letter in self.0.chars() {
            match letter {
                '\n' | '\t' => plain.push(letter),
                // Line ends of other systems.
                '\r' => {}
                '\0'..='\u{1f}' => {
                    plain.push(char::from_u32(0x2400 + u32::from(letter)).unwrap_or('\u{fffd}'))
                }
                '\u{7f}' => plain.push('\u{2421}'),
                _ if misleads(letter) => plain.push('\u{fffd}'),
                _ => plain.push(letter),
            }
        }
        let _ = write!(maud::Escaper::new(page), "{plain}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_markup() {
        let shown = Foreign("<script>\"&'\x1b[31m\r\n\0\u{202e}\u{200f}\u{2029}\u{9b}\u{ffff}")
            .render()
            .into_string();
        assert_eq!(shown, "&lt;script&gt;&quot;&amp;'␛[31m\n␀\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    }
}
