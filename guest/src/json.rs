//! Just enough JSON (RFC 8259) to read the answer of a token server and to write the question.
//!
//! It reads the members of one object and skips over whatever is nested in it. It is strict, save that it does not mind
//! numbers with leading zeros; it builds no tree, so it is of no use for anything larger.

use alloc::{string::String, vec::Vec};

#[cfg(test)]
mod tests;

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A string, escapes resolved.
    Text(String),
    /// A number as it was written.
    Number(String),
    /// Anything else, skipped.
    Other,
}

/// Deeper nesting is taken for an attack.
const DEPTH_MAX: u32 = 64;

/// Reads an object's members in order. `None` when the text is not one JSON object and nothing else.
pub(crate) fn members(text: &str) -> Option<Vec<(String, Value)>> {
    let mut reader = Reader { rest: text };
    let mut members = Vec::new();
    reader.expect('{')?;
    if reader.accept('}') {
        return reader.at_end().then_some(members);
    }
    loop {
        let name = reader.string()?;
        reader.expect(':')?;
        members.push((name, reader.value()?));
        if !reader.accept(',') {
            break;
        }
    }
    reader.expect('}')?;
    reader.at_end().then_some(members)
}

/// Writes a string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\0'..='\x1f' => {
                out.push_str("\\u00");
                for digit in [u32::from(character) >> 4, u32::from(character) & 15] {
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let first = characters.next()?;
        self.rest = characters.as_str();
        Some(first)
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(wanted) else {
            return false;
        };
        self.rest = rest;
        true
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.accept(wanted).then_some(())
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn string(&mut self) -> Option<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\x1f' => return None,
                character => text.push(character),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            character @ ('"' | '\\' | '/') => character,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return None,
        })
    }

    /// What follows `\u`; two of them for characters beyond the first plane. Half a pair is refused.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number << 4 | self.next()?.to_digit(16)?;
        }
        Some(number)
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '"' => self.string().map(Value::Text),
            '{' | '[' => self.skip_nested().map(|()| Value::Other),
            '-' | '0'..='9' => self.number().map(Value::Number),
            _ => ["true", "false", "null"].into_iter().find_map(|word| {
                self.rest = self.rest.strip_prefix(word)?;
                Some(Value::Other)
            }),
        }
    }

    fn number(&mut self) -> Option<String> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let rest = self.rest.trim_start_matches(|character: char| {
            character.is_ascii_digit() || ['+', '-', '.', 'e', 'E'].contains(&character)
        });
        let text = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        (digits(whole) && digits(fraction) && digits(exponent)).then(|| text.into())
    }

    /// Skips an array or object. Brackets and strings are checked, what stands between them is not.
    fn skip_nested(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            self.skip_space();
            match self.rest.chars().next()? {
                '"' => {
                    self.string()?;
                    continue;
                }
                '{' => open.push('}'),
                '[' => open.push(']'),
                closing @ ('}' | ']') if open.pop() != Some(closing) => return None,
                _ => {}
            }
            self.next()?;
            if open.is_empty() {
                return Some(());
            }
            if open.len() > DEPTH_MAX as usize {
                return None;
            }
        }
    }
}
