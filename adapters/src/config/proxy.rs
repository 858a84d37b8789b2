//! The HTTP proxy through which an institution reaches the gateways, as the configuration names it.

use std::path::PathBuf;

use ura_runtime::config::{Problems, Source, Spanned};

/// A proxy that makes tunnels by CONNECT (RFC 9110 section 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is, `host:port`.
    pub address: String,
    /// Whom it knows; `None` where it asks nobody.
    pub user: Option<ProxyUser>,
}

/// Who makes the tunnels (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUser {
    /// Without a colon.
    pub name: String,
    /// File with the password and nothing else; read for each connection.
    pub password_file: PathBuf,
}

/// The keys as they are written.
pub(super) struct RawProxy {
    pub(super) url: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<String>>,
}

impl RawProxy {
    /// The proxy; `None` where there is none, or a problem with it.
    pub(super) fn check(self, source: &Source, problems: &mut Problems) -> Option<Proxy> {
        let user = match (self.user, self.password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => {
                if user.get_ref().is_empty() || user.get_ref().contains(|c: char| c == ':' || c.is_control())
                {
                    problems.at(user.span(), "a user has no colon and no control characters in its name");
                }
                let password_file = source.resolve(file.get_ref());
                Some(ProxyUser { name: user.into_inner(), password_file })
            }
            (Some(one), None) | (None, Some(one)) => {
                problems.at(one.span(), "`proxy_user` and `proxy_password_file` go together");
                None
            }
        };
        match (self.url, user) {
            (Some(url), user) => match address(url.get_ref()) {
                Ok(address) => Some(Proxy { address, user }),
                Err(problem) => {
                    problems.at(url.span(), problem);
                    None
                }
            },
            (None, Some(_)) => {
                problems.whole("`proxy_user` is there and `proxy` is not");
                None
            }
            (None, None) => None,
        }
    }
}

/// `host:port` of `http://host:port`.
fn address(url: &str) -> Result<String, String> {
    if url.starts_with("https://") {
        let why =
            "a proxy is spoken with over http: what goes through it is encrypted for the gateway anyway";
        return Err(why.to_owned());
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("the proxy is written http://host:port".to_owned());
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(
            "the user stands in `proxy_user` and the password in the file `proxy_password_file`".to_owned()
        );
    }
    if super::is_address(authority) && !authority.contains(['/', ' ']) {
        Ok(authority.to_owned())
    } else {
        Err(format!("`{authority}` is not host:port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expected) in [
            ("http://proxy.example:3128", Ok("proxy.example:3128")),
            ("http://[::1]:3128/", Ok("[::1]:3128")),
            ("http://proxy.example", Err("not host:port")),
            ("http://proxy.example:3128/path", Err("not host:port")),
            ("https://proxy.example:3128", Err("over http")),
            ("proxy.example:3128", Err("http://host:port")),
            ("http://u:p@proxy.example:3128", Err("proxy_password_file")),
        ] {
            match (address(url), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{url}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{url}: {found}"),
                (found, _) => unreachable!("{url}: {found:?}"),
            }
        }
    }
}
