//! Tokens, as RFC 6749 and RFC 7517 have them.

use serde::Serialize;
use utoipa::ToSchema;

/// A token request, form-encoded.
#[derive(ToSchema)]
#[schema(example = json!({
    "grant_type": "client_credentials",
    "client_id": "clinic_5f0c2b9d8e7a61403c2d",
    "client_secret": "acs_Zk2V0q8nJYtqR1wQm3uXo5bC7dE9fG1hI3jK5lM7nP0",
}))]
pub struct TokenRequest {
    /// `client_credentials` or `refresh_token`.
    #[schema(example = "client_credentials")]
    pub grant_type: String,
    /// The client's id, unless it comes by HTTP Basic.
    #[schema(required = false)]
    pub client_id: String,
    /// The client's secret, unless it comes by HTTP Basic.
    #[schema(required = false, format = Password)]
    pub client_secret: String,
    /// The refresh token, for `refresh_token`.
    #[schema(required = false, format = Password)]
    pub refresh_token: String,
    /// The scope asked for; only the one the client has is given.
    #[schema(required = false, example = "clinic")]
    pub scope: String,
}

/// A revocation request, form-encoded.
#[derive(ToSchema)]
#[schema(example = json!({"token": "acr_5b4Wg0Q0G1XyqTnVq9xJ0b7l2mYt3uKc8hZr6sPdEfA"}))]
pub struct RevokeRequest {
    /// The access token or refresh token to revoke.
    #[schema(format = Password)]
    pub token: String,
    /// `access_token` or `refresh_token`; a hint, not needed.
    #[schema(required = false, example = "refresh_token")]
    pub token_type_hint: String,
    /// The client's id; not needed, holding the token is enough.
    #[schema(required = false)]
    pub client_id: String,
    /// The client's secret; not needed.
    #[schema(required = false, format = Password)]
    pub client_secret: String,
}

/// Tokens.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenAnswer {
    /// The bearer for every other request.
    #[schema(format = Password, example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IjdjIn0.eyJpc3MiOiI…")]
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    #[schema(example = 900, minimum = 1, maximum = 900)]
    pub expires_in: i64,
    /// What the token is good for: `clinic` or `patient`.
    #[schema(example = "clinic")]
    pub scope: &'static str,
    /// For the next access token; each is good once. Only patients' apps have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Password, example = "acr_5b4Wg0Q0G1XyqTnVq9xJ0b7l2mYt3uKc8hZr6sPdEfA")]
    pub refresh_token: Option<String>,
}

/// Why no token was given.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenError {
    /// A code of RFC 6749, section 5.2.
    #[schema(example = "invalid_client")]
    pub error: &'static str,
    /// The same in words.
    #[schema(example = "The client or its secret is not known")]
    pub error_description: &'static str,
}

/// The public keys that access tokens are signed with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JwkSet {
    /// Every key that a token still valid may be signed with.
    pub keys: Vec<Jwk>,
}

/// One Ed25519 public key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    #[schema(example = "OKP")]
    pub kty: &'static str,
    /// Always `Ed25519`.
    #[schema(example = "Ed25519")]
    pub crv: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    pub usage: &'static str,
    /// Always `EdDSA`.
    #[schema(example = "EdDSA")]
    pub alg: &'static str,
    /// The key's id, as tokens name it.
    #[schema(example = "7c0f3f1de2a84f56b1f3f0a9f6c1d2e3")]
    pub kid: String,
    /// The public key, base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    pub x: String,
}
