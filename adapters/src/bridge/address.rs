//! Where the server behind the bridge listens. Pure.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Authority};

/// `host:port`, in the clear, or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: Authority,
    tls: bool,
}

/// Not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of a server: write host:port, or https://host:port where it has TLS")]
pub struct AddressError(String);

impl Address {
    /// `host:port`.
    #[must_use]
    pub fn host_port(&self) -> &str {
        self.authority.as_str()
    }

    /// The host; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// What requests are addressed to.
    pub(crate) fn origin(&self) -> Uri {
        let scheme = if self.tls { "https" } else { "http" };
        let parts = Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query("/");
        parts.build().expect("a scheme, an authority and a path make a URI")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(300).collect());
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
        };
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| wrong())?;
        let whole = authority.port_u16().is_some_and(|port| port != 0) && !authority.host().is_empty();
        let plain = !authority.as_str().contains('@');
        if whole && plain { Ok(Self { authority, tls }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.tls { "https://" } else { "" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for (text, host, tls) in [
            ("127.0.0.1:50051", "127.0.0.1", false),
            ("http://localhost:1/", "localhost", false),
            ("https://[::1]:443", "::1", true),
        ] {
            let address: Address = text.parse().expect("valid");
            assert_eq!((address.host(), address.is_tls()), (host, tls), "{text}");
        }
        assert_eq!("a.b:5".parse::<Address>().expect("valid").origin(), "http://a.b:5/");
        for bad in ["", "localhost", ":1", "a:0", "a:70000", "ftp://a:1", "a:1/x", "u@a:1", "a b:1", "::1:5"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
