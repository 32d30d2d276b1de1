//! A type as text, spaced as people write it.
//!
//! The text is part of the registry's fingerprint, so it must not depend on how the source is laid out or on what a
//! compiler's own printing does this year.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub(crate) fn type_text(tokens: TokenStream) -> String {
    let mut text = String::new();
    append(tokens, &mut text);
    text
}

fn append(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                append(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' => text.push_str(", "),
                ';' => text.push_str("; "),
                '-' => text.push_str(" -"),
                '>' if text.ends_with(" -") => text.push_str("> "),
                sign @ ('=' | '+') => text.extend([' ', sign, ' ']),
                sign => text.push(sign),
            },
            TokenTree::Ident(ident) => word(&ident.to_string(), text),
            TokenTree::Literal(literal) => word(&literal.to_string(), text),
        }
    }
    // A trailing comma leaves its space behind.
    if text.ends_with(", ") {
        text.pop();
    }
}

fn word(word: &str, text: &mut String) {
    if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
        text.push(' ');
    }
    text.push_str(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let tokens: TokenStream = source.parse().expect("the test's own source parses");
        assert_eq!(type_text(tokens), expected, "{source}");
    }

    #[test]
    fn types_read_as_written_by_hand() {
        check("i64", "i64");
        check("Vec < i64 >", "Vec<i64>");
        check(
            "std :: collections :: HashMap<String , Vec< u8 >>",
            "std::collections::HashMap<String, Vec<u8>>",
        );
        check("(i64,)", "(i64,)");
        check("( i64 , f64, )", "(i64, f64,)");
        check("[u8;4]", "[u8; 4]");
        check("()", "()");
        check("Option<Box<dyn Fn(u8)->u8 + Send>>", "Option<Box<dyn Fn(u8) -> u8 + Send>>");
        check("Cow<'static, str>", "Cow<'static, str>");
        check("[u8; {\n 2 * N }]", "[u8; {2*N}]");
    }
}
