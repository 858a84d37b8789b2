//! Pages: sizes, opaque tokens, and whether there is more.
//!
//! A token names where the next page begins and carries a checksum of the request, so that it is
//! of no use with another one. It is not a secret and proves nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost_reflect::DynamicMessage;

use crate::{
    plan::{Answer, Method, More, Page, PageValue, Source},
    register::failure::Failure,
    tree::Tree,
};

/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// Where one call stands in its list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PageState {
    size: u32,
    offset: u64,
    cursor: Option<String>,
    checksum: u64,
}

impl PageState {
    /// The first page; `None` where the method has none.
    pub(crate) fn first(method: &Method, request: &DynamicMessage) -> Option<Self> {
        let page = page_of(method)?;
        let asked = request.get_field(&page.size_field).as_i32().unwrap_or(0);
        let size = match u32::try_from(asked) {
            Ok(0) | Err(_) => page.size_default,
            Ok(asked) => asked.min(page.size_max),
        };
        Some(Self { size, offset: 0, cursor: None, checksum: 0 })
    }

    /// Goes on where the request's token says. `values` are the request's parameters without page.
    pub(crate) fn resume(
        &mut self,
        method: &Method,
        request: &DynamicMessage,
        values: &[Tree],
    ) -> Result<(), Failure> {
        let Some(page) = page_of(method) else {
            return Ok(());
        };
        self.checksum = checksum(method, values);
        if matches!(page.more, More::Full) {
            // Pages are counted in this size: with another one the numbers would be others.
            self.checksum ^= u64::from(self.size);
        }
        let token = request.get_field(&page.token_field);
        let Some(token) = token.as_str().filter(|t| !t.is_empty()) else {
            return Ok(());
        };
        let invalid = || Failure::invalid("The page_token does not belong to this request.");
        let (checksum, place) = read(token).ok_or_else(invalid)?;
        if checksum != self.checksum {
            return Err(invalid());
        }
        match &page.more {
            More::Cursor(_) => self.cursor = Some(place),
            // A token is the caller's to write: what is counted from it must not overflow.
            More::Limit | More::Full => self.offset = place.parse::<u32>().map_err(|_| invalid())?.into(),
        }
        Ok(())
    }

    /// A page value as a parameter.
    pub(crate) fn value(&self, value: PageValue) -> Tree {
        match value {
            PageValue::Limit => Tree::integer(self.size + 1),
            PageValue::Offset => Tree::integer(self.offset),
            PageValue::Size => Tree::integer(self.size),
            PageValue::Number => Tree::integer(self.offset / u64::from(self.size.max(1)) + 1),
            PageValue::Cursor => self.cursor.clone().map_or(Tree::Null, Tree::Text),
        }
    }

    /// The token of the next page where there is one. Takes the row beyond this page away.
    pub(crate) fn next(&self, page: &Page, rows: &mut Vec<Tree>, whole: Option<&Tree>) -> Option<String> {
        let size = usize::try_from(self.size).ok()?;
        let next = || (self.offset + u64::from(self.size)).to_string();
        let place = match &page.more {
            More::Limit => {
                let more = rows.len() > size;
                rows.truncate(size);
                more.then(next)
            }
            More::Full => (rows.len() >= size).then(next),
            More::Cursor(path) => {
                whole.and_then(|whole| whole.at(path)).filter(|cursor| !cursor.is_empty()).map(Tree::to_text)
            }
        }?;
        Some(URL_SAFE_NO_PAD.encode(format!("{:016x}{place}", self.checksum)))
    }
}

fn page_of(method: &Method) -> Option<&Page> {
    match &method.answer {
        Answer::Many { page, .. } => page.as_ref(),
        _ => None,
    }
}

fn read(token: &str) -> Option<(u64, String)> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (checksum, place) = text.split_at_checked(16)?;
    Some((u64::from_str_radix(checksum, 16).ok()?, place.to_owned()))
}

/// FNV-1a over the method and what the caller asked for; the exchange's own values change with
/// each call and do not count.
fn checksum(method: &Method, values: &[Tree]) -> u64 {
    let mut text = method.descriptor.full_name().to_owned();
    for (parameter, value) in method.parameters.iter().zip(values) {
        if matches!(parameter.source, Source::Field(_)) {
            text.push('\n');
            value.write_json(&mut text);
        }
    }
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
