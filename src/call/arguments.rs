//! What stands on the command line, read into valid values. Pure; knows nothing of connections.

use std::{path::PathBuf, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use tonic::metadata::{
    Ascii, AsciiMetadataKey, AsciiMetadataValue, Binary, BinaryMetadataKey, MetadataValue,
};
use ura_runtime::trace::TraceContext;

/// Longest value of the bus's own metadata, in bytes; the gateway's limit.
const VALUE_BYTES_MAX: usize = 128;

/// Longest time that `grpc-timeout` is given, in hours: its eight digits hold more, nobody waits longer.
const TIMEOUT_HOURS_MAX: u64 = 24;

/// Metadata that the call itself sets, and how to set it.
const OWN_KEYS: [(&str, &str); 6] = [
    ("grpc-timeout", "use --timeout"),
    ("accept-language", "use --language"),
    ("traceparent", "use --traceparent"),
    ("content-type", "it is always application/grpc"),
    ("te", "it is always trailers"),
    ("user-agent", "it names this program"),
];

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Full name of the contract, `package.Service`.
    pub(super) contract: String,
    /// Name of the method.
    pub(super) method: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |part: &str| {
            part.split('.').all(|word| {
                word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        match text.strip_prefix('/').unwrap_or(text).split_once('/') {
            Some((contract, method)) if name(contract) && name(method) && !method.contains('.') => {
                Ok(Self { contract: contract.to_owned(), method: method.to_owned() })
            }
            _ => Err("write CONTRACT/METHOD, such as ks.tax.v1.PropertyTaxService/ListInvoices".to_owned()),
        }
    }
}

/// Where the request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The argument itself.
    Text(String),
    /// A file, read as it is sent.
    File(PathBuf),
    /// Standard input, read as it comes.
    Stdin,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            _ if text == "-" || text == "@-" => Ok(Self::Stdin),
            Some("") => Err("write @FILE, or - for standard input".to_owned()),
            Some(path) => Ok(Self::File(PathBuf::from(path))),
            None => Ok(Self::Text(text.to_owned())),
        }
    }
}

/// Reads `<number><ms|s|m|h>`.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (amount, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number and a unit: 500ms, 5s, 2m or 1h".to_owned()),
    };
    let ms = amount.parse::<u64>().ok().and_then(|amount| amount.checked_mul(unit_ms));
    match ms {
        Some(ms) if (1..=TIMEOUT_HOURS_MAX * 3_600_000).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("write a time from 1ms to {TIMEOUT_HOURS_MAX}h")),
    }
}

/// Reads a value of the bus's own metadata: 1 to 128 visible ASCII characters.
pub(super) fn value(text: &str) -> Result<AsciiMetadataValue, String> {
    let refused = || format!("write 1 to {VALUE_BYTES_MAX} visible ASCII characters, without spaces");
    if text.is_empty() || text.len() > VALUE_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// Reads a `traceparent` header.
pub(super) fn traceparent(text: &str) -> Result<AsciiMetadataValue, String> {
    match TraceContext::parse(text.as_bytes()) {
        Some(_) => value(text),
        None => {
            Err("write 00-<32 hex digits>-<16 hex digits>-<01 or 00>, lower case (W3C trace context)"
                .to_owned())
        }
    }
}

/// One `-H key:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// An ordinary value.
    Ascii(AsciiMetadataKey, MetadataValue<Ascii>),
    /// A key that ends in `-bin`; its value was given in base64.
    Binary(BinaryMetadataKey, MetadataValue<Binary>),
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once(':').ok_or("write key:value")?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if let Some((_, instead)) = OWN_KEYS.iter().find(|(own, _)| *own == key) {
            return Err(format!("{key} is not set here: {instead}"));
        }
        if key.starts_with("grpc-") {
            return Err(format!("{key} belongs to gRPC itself"));
        }
        let key_refused = || format!("`{key}` is no metadata key: write a-z, 0-9, -, _ and .");
        if key.ends_with("-bin") {
            let bytes = STANDARD_NO_PAD.decode(value.trim_end_matches('=')).map_err(|error| {
                format!("a key in -bin takes base64 ({}): {error}", STANDARD.encode("like this"))
            })?;
            let key = BinaryMetadataKey::from_bytes(key.as_bytes()).map_err(|_| key_refused())?;
            return Ok(Self::Binary(key, MetadataValue::from_bytes(&bytes)));
        }
        let key = AsciiMetadataKey::from_bytes(key.as_bytes()).map_err(|_| key_refused())?;
        if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(format!("the value of {key} is not visible ASCII: use a key in -bin with base64"));
        }
        let value = value.parse().map_err(|_| format!("the value of {key} cannot be sent"))?;
        Ok(Self::Ascii(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, expected) in [
            ("a.v1.S/M", Some(("a.v1.S", "M"))),
            ("/a.v1.S/M", Some(("a.v1.S", "M"))),
            ("S/M_2", Some(("S", "M_2"))),
            ("a.v1.S", None),
            ("a.v1.S.M", None),
            ("a.v1.S/", None),
            ("/M", None),
            ("a..S/M", None),
            ("a.S/M.N", None),
            ("a.S/M/N", None),
            ("a.S/ë", None),
            ("", None),
        ] {
            let found = text.parse::<Target>().ok();
            let found = found.as_ref().map(|t| (t.contract.as_str(), t.method.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn sources() {
        for (text, expected) in [
            ("{}", Ok(Source::Text("{}".to_owned()))),
            ("-", Ok(Source::Stdin)),
            ("@-", Ok(Source::Stdin)),
            ("@a.json", Ok(Source::File(PathBuf::from("a.json")))),
        ] {
            assert_eq!(text.parse::<Source>(), expected, "{text}");
        }
        assert!("@".parse::<Source>().is_err());
    }

    #[test]
    fn timeouts() {
        for (text, ms) in [
            ("5s", Some(5_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("5 s", None),
            ("5ë", None),
            ("99999999999999999999s", None),
            ("", None),
        ] {
            assert_eq!(timeout(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn values_of_the_bus() {
        for good in ["birth-certificate", "P-2026/17", &"a".repeat(128)] {
            assert_eq!(value(good).expect("valid").as_bytes(), good.as_bytes());
        }
        for bad in ["", "a b", "çmim", "a\n", &"a".repeat(129)] {
            assert!(value(bad).is_err(), "{bad}");
        }
        assert!(traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_ok());
        assert!(traceparent("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01").is_err());
    }

    #[test]
    fn headers() {
        for (text, expected) in [
            ("a:b", Some(("a", &b"b"[..]))),
            ("X-Office: Pejë".trim_end_matches('ë'), Some(("x-office", b"Pej"))),
            ("a: b:c ", Some(("a", b"b:c"))),
            ("a:", Some(("a", b""))),
            ("x-bin: AP8=", Some(("x-bin", &[0, 255]))),
            ("x-bin: AP8", Some(("x-bin", &[0, 255]))),
            ("ura-consumer: other/one", Some(("ura-consumer", b"other/one"))),
            ("x-bin: ?", None),
            ("a", None),
            (":b", None),
            ("a b:c", None),
            ("a:ë", None),
            ("grpc-timeout:1S", None),
            ("Grpc-Encoding:gzip", None),
            ("TE:trailers", None),
        ] {
            let found = match text.parse::<Header>() {
                Ok(Header::Ascii(key, value)) => Some((key.to_string(), value.as_bytes().to_vec())),
                Ok(Header::Binary(key, value)) => {
                    Some((key.to_string(), value.to_bytes().expect("made of bytes").to_vec()))
                }
                Err(_) => None,
            };
            assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_vec())), "{text}");
        }
    }
}
