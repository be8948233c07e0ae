//! The Google service account that signs our requests.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value};

use super::endpoint::{Endpoint, EndpointError};

/// A parsed service-account file. The private key never appears in `Debug` output or errors.
#[derive(Clone)]
pub struct ServiceAccount {
    project_id: String,
    client_email: String,
    private_key_id: Option<String>,
    token_uri: Endpoint,
    audience: String,
    key: Arc<EncodingKey>,
}

/// Why a service-account file cannot be used. Never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file could not be read.
    #[error("the service-account file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// The text is no JSON object.
    #[error("the service-account file is not a JSON object")]
    NotJson,
    /// The `type` is another kind of Google credential.
    #[error("the credential's `type` is not \"service_account\"")]
    WrongType,
    /// A field is absent, empty or no string.
    #[error("the service-account file has no usable `{0}`")]
    Missing(&'static str),
    /// `project_id` has characters that no project id has.
    #[error("the service account's `project_id` is not a project id")]
    ProjectId,
    /// `private_key` is no RSA key in PEM that can sign RS256.
    #[error("the service account's `private_key` is not an RSA private key in PEM")]
    PrivateKey,
    /// `token_uri` cannot be used.
    #[error("the service account's `token_uri`: {0}")]
    TokenUri(#[from] EndpointError),
}

impl ServiceAccount {
    /// Reads and parses a service-account file.
    ///
    /// # Errors
    /// Says that the file cannot be read, or which field cannot be used.
    pub fn from_file(path: &Path) -> Result<Self, CredentialsError> {
        let text = std::fs::read_to_string(path).map_err(CredentialsError::Unreadable)?;
        Self::from_json(&text)
    }

    /// Parses the JSON that Google's console hands out. The key is tried once, so that a damaged
    /// one is reported now and not at the first reminder.
    ///
    /// # Errors
    /// Says which field is missing or cannot be used.
    pub fn from_json(text: &str) -> Result<Self, CredentialsError> {
        let Ok(Value::Object(file)) = serde_json::from_str(text) else {
            return Err(CredentialsError::NotJson);
        };
        if file.get("type").is_some_and(|kind| kind != "service_account") {
            return Err(CredentialsError::WrongType);
        }
        let project_id = field(&file, "project_id")?.to_owned();
        let in_project_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
        if !project_id.chars().all(in_project_id) {
            return Err(CredentialsError::ProjectId);
        }
        Ok(Self {
            project_id,
            client_email: field(&file, "client_email")?.to_owned(),
            key: Arc::new(signing_key(field(&file, "private_key")?)?),
            private_key_id: field(&file, "private_key_id").ok().map(str::to_owned),
            token_uri: field(&file, "token_uri")?.parse()?,
            audience: field(&file, "token_uri")?.to_owned(),
        })
    }

    /// The Firebase project that messages are sent in.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// The account's name, the issuer of our assertions.
    #[must_use]
    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    /// Where access tokens are fetched.
    #[must_use]
    pub fn token_uri(&self) -> &Endpoint {
        &self.token_uri
    }

    /// The token URI exactly as the file spells it: the audience of our assertions.
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    pub(crate) fn private_key_id(&self) -> Option<&str> {
        self.private_key_id.as_deref()
    }

    pub(crate) fn key(&self) -> &EncodingKey {
        &self.key
    }
}

fn field<'a>(
    file: &'a Map<String, Value>,
    name: &'static str,
) -> Result<&'a str, CredentialsError> {
    match file.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim()),
        _ => Err(CredentialsError::Missing(name)),
    }
}

fn signing_key(pem: &str) -> Result<EncodingKey, CredentialsError> {
    let key =
        EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| CredentialsError::PrivateKey)?;
    jsonwebtoken::crypto::sign(b"probe", &key, Algorithm::RS256)
        .map_err(|_| CredentialsError::PrivateKey)?;
    Ok(key)
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("project_id", &self.project_id)
            .field("token_uri", &self.token_uri)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use base64::Engine as _;

    use super::*;

    /// An RSA key made for this run of the tests, in PEM.
    pub(crate) static TEST_KEY: LazyLock<String> = LazyLock::new(|| {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der = key.as_der().unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    });

    pub(crate) fn file(token_uri: &str) -> Value {
        serde_json::json!({
            "type": "service_account",
            "project_id": "clinic-app",
            "private_key_id": "k1",
            "private_key": TEST_KEY.as_str(),
            "client_email": "push@clinic-app.iam.gserviceaccount.com",
            "token_uri": token_uri,
        })
    }

    #[test]
    fn reads_what_google_hands_out() {
        let text = file("https://oauth2.googleapis.com/token").to_string();
        let account = ServiceAccount::from_json(&text).unwrap();
        assert_eq!(account.project_id(), "clinic-app");
        assert_eq!(account.client_email(), "push@clinic-app.iam.gserviceaccount.com");
        assert_eq!(account.private_key_id(), Some("k1"));
        assert_eq!(account.token_uri().to_string(), "https://oauth2.googleapis.com/token");
    }

    #[test]
    fn names_the_missing_field() {
        for name in ["project_id", "client_email", "private_key", "token_uri"] {
            for broken in [Value::Null, Value::from(7), Value::from("  ")] {
                let mut json = file("https://oauth2.googleapis.com/token");
                json[name] = broken;
                let error = ServiceAccount::from_json(&json.to_string()).unwrap_err();
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }

    #[test]
    fn says_what_is_wrong_without_quoting_it() {
        let wrong = |name: &str, value: &str| {
            let mut json = file("https://oauth2.googleapis.com/token");
            json[name] = value.into();
            ServiceAccount::from_json(&json.to_string()).unwrap_err().to_string()
        };
        assert!(wrong("type", "authorized_user").contains("type"));
        assert!(wrong("project_id", "../x y").contains("project_id"));
        assert!(wrong("token_uri", "http://example.org/token").contains("loopback"));
        let damaged = TEST_KEY.replace("MII", "AAA");
        let error = wrong("private_key", &damaged);
        assert!(error.contains("private_key") && !error.contains("BEGIN"), "{error}");
        assert!(ServiceAccount::from_json("nonsense").unwrap_err().to_string().contains("JSON"));
    }

    #[test]
    fn debug_output_has_no_key_and_no_account_name() {
        let text = file("https://oauth2.googleapis.com/token").to_string();
        let shown = format!("{:?}", ServiceAccount::from_json(&text).unwrap());
        assert!(!shown.contains("PRIVATE") && !shown.contains("push@"), "{shown}");
    }
}
