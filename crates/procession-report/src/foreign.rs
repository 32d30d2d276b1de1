//! Text that came from a task, a worker or a user, on its way into a page.

use std::fmt::Write as _;

use maud::Render;

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
                // Not characters, or such as turn the direction of what follows.
                '\u{80}'..='\u{9f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fdd0}'..='\u{fdef}' => {
                    plain.push('\u{fffd}');
                }
                _ if u32::from(letter) & 0xfffe == 0xfffe => plain.push('\u{fffd}'),
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
        let shown = Foreign("<script>\"&'\x1b[31m\r\n\0\u{202e}").render().into_string();
        assert_eq!(shown, "&lt;script&gt;&quot;&amp;'␛[31m\n␀\u{fffd}");
    }
}
