//! How the adapter proves to the register who it is: `[register.auth]`, `client_identity` and `ca_file`.

use ura_runtime::config::{Problems, Source, Spanned};

use super::raw::{Auth, AuthKind, ClientIdentity, Register};
use crate::plan::{AuthPlan, IdentityFiles, RegisterKind};

/// Notes what this kind of register has no use for.
pub(super) fn refuse(raw: &Register, kind: RegisterKind, tls: bool, problems: &mut Problems) {
    let http = matches!(kind, RegisterKind::Rest | RegisterKind::Soap);
    if let Some(auth) = raw.auth.as_ref().filter(|_| !http) {
        problems.at(auth.span(), "auth goes with rest and soap only; a database's user stands in the url");
    }
    if !http && !tls {
        let wanted = "goes with rest, soap and PostgreSQL over TLS (sslmode=verify-full in the url) only";
        if let Some(ca) = &raw.ca_file {
            problems.at(ca.span(), format!("ca_file {wanted}"));
        }
        if let Some(identity) = &raw.client_identity {
            problems.at(identity.span(), format!("client_identity {wanted}"));
        }
    }
    if tls && raw.ca_file.is_none() {
        problems.at(
            raw.url.span(),
            "sslmode=verify-full needs ca_file: the authority of the database's certificate",
        );
    }
    let authorization = raw
        .headers
        .iter()
        .flat_map(|headers| &headers.0)
        .find(|(name, _)| raw.auth.is_some() && name.as_ref().eq_ignore_ascii_case("authorization"));
    if let Some((name, _)) = authorization {
        problems.at(name.span(), "`auth` writes this header: keep one of them");
    }
}

pub(super) fn identity(files: &ClientIdentity, source: &Source) -> IdentityFiles {
    IdentityFiles {
        certificate: source.resolve(files.certificate_file.as_ref()),
        key: source.resolve(files.key_file.as_ref()),
    }
}

/// The section; `None` where it has mistakes, which are noted.
pub(super) fn auth(spanned: &Spanned<Auth>, source: &Source, problems: &mut Problems) -> Option<AuthPlan> {
    let raw = spanned.as_ref();
    let (name, wanted): (_, &[&str]) = match raw.kind {
        AuthKind::Basic => ("basic", &["user", "password_file"]),
        AuthKind::Bearer => ("bearer", &["token_file"]),
        AuthKind::OAuth2 => ("oauth2", &["token_url", "client_id", "secret_file"]),
    };
    let texts = [
        ("user", &raw.user),
        ("password_file", &raw.password_file),
        ("token_file", &raw.token_file),
        ("token_url", &raw.token_url),
        ("client_id", &raw.client_id),
        ("secret_file", &raw.secret_file),
    ];
    for (key, given) in texts {
        match (wanted.contains(&key), given) {
            (true, None) => problems.at(spanned.span(), format!("auth of kind {name} needs `{key}`")),
            (true, Some(text)) if text.as_ref().is_empty() => problems.at(text.span(), "it is empty"),
            (false, Some(text)) => {
                problems.at(
                    text.span(),
                    format!("auth of kind {name} has no `{key}`; it has {}", wanted.join(", ")),
                );
            }
            _ => {}
        }
    }
    let scopes = raw.scopes.iter().flatten();
    if let Some(scope) = scopes.clone().next().filter(|_| raw.kind != AuthKind::OAuth2) {
        problems.at(scope.span(), "scopes go with auth of kind oauth2 only");
    }
    let file = |given: &Option<Spanned<String>>| given.as_ref().map(|path| source.resolve(path.as_ref()));
    match raw.kind {
        AuthKind::Basic => {
            let user = raw.user.as_ref()?;
            // RFC 7617 section 2.
            if user.as_ref().contains(|c: char| c == ':' || c.is_control()) {
                problems.at(user.span(), "a user's name has no colon and no control characters");
            }
            Some(AuthPlan::Basic { user: user.as_ref().clone(), password_file: file(&raw.password_file)? })
        }
        AuthKind::Bearer => Some(AuthPlan::Bearer { token_file: file(&raw.token_file)? }),
        AuthKind::OAuth2 => {
            // RFC 6749 section 3.3.
            let is_scope = |text: &str| {
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
            };
            for scope in scopes.clone().filter(|scope| !is_scope(scope.as_ref())) {
                problems.at(scope.span(), "one scope, without blanks and quotes; several are several texts");
            }
            let token_url = token_url(raw.token_url.as_ref()?, problems)?;
            Some(AuthPlan::OAuth2 {
                token_url,
                client_id: raw.client_id.as_ref()?.as_ref().clone(),
                secret_file: file(&raw.secret_file)?,
                scopes: scopes.map(|scope| scope.as_ref().clone()).collect(),
            })
        }
    }
}

fn token_url(raw: &Spanned<String>, problems: &mut Problems) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(raw.as_ref()).ok().filter(|url| {
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    });
    if url.is_none() {
        problems.at(raw.span(), "write the address of the token endpoint: https://host/path");
    }
    url
}
