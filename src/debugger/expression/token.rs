//! The text of an expression, cut into words, numbers and symbols.

use std::ops::Range;

use super::Error;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number, without a sign.
    Number(f64),
    /// A name of any kind.
    Word(String),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
}

/// Longer ones before those that they begin with.
const SYMBOLS: &[&str] = &[
    "...", "<=", ">=", "==", "!=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "(", ")", "[", "]", ",", ":", "@",
    "$",
];

/// The tokens of a text, each with the characters that it is made of.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Error> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        if rest[0].is_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = if rest[0].is_ascii_digit() || (rest[0] == '.' && digit(rest, 1)) {
            number_or_name(rest)
        } else if rest[0].is_alphabetic() || rest[0] == '_' {
            word(rest)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| symbol.chars().eq(prefix(rest, symbol.len()))) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let sentence = match rest[0] {
                '=' => "one = says nothing here: == compares".to_string(),
                '&' => "one & says nothing here: && and the word and join conditions".to_string(),
                '|' => "one | says nothing here: || and the word or join conditions".to_string(),
                '"' | '\'' => "names are written without quotes: 3.q_rope".to_string(),
                other => format!("{} has no meaning here", super::escape(&other.to_string())),
            };
            return Err(Error::new(sentence, at..at + 1));
        };
        found.push((token, at..at + length));
        at += length;
    }
    Ok(found)
}

fn digit(characters: &[char], at: usize) -> bool {
    characters.get(at).is_some_and(char::is_ascii_digit)
}

fn prefix(characters: &[char], length: usize) -> impl Iterator<Item = char> {
    characters.iter().take(length).copied()
}

fn word(rest: &[char]) -> (Token, usize) {
    let length = rest.iter().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).count();
    (Token::Word(rest[..length].iter().collect()), length)
}

/// `3.q_rope` is a name, `3.5` and `3.e5` are numbers.
fn number_or_name(rest: &[char]) -> (Token, usize) {
    let count = |from: usize| rest[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let whole = count(0);
    let letter = |at: usize| rest.get(at).is_some_and(|c| c.is_alphabetic() || *c == '_');
    if whole > 0 && rest.get(whole) == Some(&'.') && letter(whole + 1) {
        let (token, length) = word(rest);
        let text: String = rest[..length].iter().collect();
        return (text.parse().map_or(token, Token::Number), length);
    }
    let mut length = whole;
    if rest.get(length) == Some(&'.') && rest.get(length + 1) != Some(&'.') {
        length += 1 + count(length + 1);
    }
    if matches!(rest.get(length), Some('e' | 'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some('+' | '-')));
        if digit(rest, length + 1 + sign) {
            length += 1 + sign + count(length + 1 + sign);
        }
    }
    let text: String = rest[..length].iter().collect();
    (Token::Number(text.parse().expect("digits, a point and an exponent are a number")), length)
}
