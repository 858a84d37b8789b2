//! Who the adapter says it is: the `authorization` header of each request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, header::HeaderValue};
use tonic::Code;

use super::token::Tokens;
use crate::{
    plan::AuthPlan,
    register::{ConnectError, Failure},
    secrets::SecretFile,
};

pub(super) enum Auth {
    Basic { user: String, password: SecretFile },
    Bearer(SecretFile),
    OAuth2(Box<Tokens>),
}

impl Auth {
    pub(super) fn open(plan: &AuthPlan) -> Result<Self, ConnectError> {
        Ok(match plan {
            AuthPlan::Basic { user, password_file } => {
                Self::Basic { user: user.clone(), password: SecretFile::open(password_file)? }
            }
            AuthPlan::Bearer { token_file } => Self::Bearer(SecretFile::open(token_file)?),
            AuthPlan::OAuth2 { token_url, client_id, secret_file, scopes } => {
                let secret = SecretFile::open(secret_file)?;
                let tokens = Tokens::new(token_url.clone(), client_id.clone(), secret, scopes.join(" "));
                Self::OAuth2(Box::new(tokens))
            }
        })
    }

    /// What the next request says.
    pub(super) async fn value(&self, client: &Client) -> Result<HeaderValue, Failure> {
        match self {
            Self::Basic { user, password } => basic(user, &password.text().await),
            Self::Bearer(token) => bearer(&token.text().await),
            Self::OAuth2(tokens) => tokens.value(client).await,
        }
    }

    /// What a request says that was refused with this; `None` where there is nothing newer to say.
    pub(super) async fn renewed(
        &self,
        client: &Client,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, Failure> {
        let value = match self {
            Self::Basic { user, password } => basic(user, &password.reread().await)?,
            Self::Bearer(token) => bearer(&token.reread().await)?,
            Self::OAuth2(tokens) => tokens.renewed(client, refused).await?,
        };
        Ok(Some(value).filter(|value| value != refused))
    }
}

/// RFC 7617 section 2, with the letters as UTF-8.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// RFC 6750 section 2.1.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let detail = "the token holds characters that a header cannot have";
        Failure::refused(Code::Internal, "The adapter cannot prove to the register who it is.", detail)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_standards() {
        // The example of RFC 7617 section 2, and that of section 2.1 for letters beyond ASCII.
        let value = basic("Aladdin", "open sesame").expect("a header");
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", "123\u{a3}").expect("a header"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(bearer("mF_9.B5f-4.1JqM").expect("a header"), "Bearer mF_9.B5f-4.1JqM");
        assert!(value.is_sensitive());
        assert!(bearer("a\nb").is_err());
    }
}
