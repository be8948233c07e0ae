//! Settings of what callers may take from a server.

use std::num::NonZeroUsize;

use aftercare_api::{ApiConfig, Limits, Origin, Rate};

/// How much callers may ask for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LimitArgs {
    /// Requests of one credential, a clinic or a patient's app: on average, and at once
    #[arg(
        long,
        env = "AFTERCARE_LIMIT_CREDENTIAL",
        hide_env_values = true,
        default_value = "100/s:400",
        value_name = "RATE"
    )]
    limit_credential: Rate,
    /// Bearers of one address that are not accepted
    #[arg(
        long,
        env = "AFTERCARE_LIMIT_BAD_BEARER",
        hide_env_values = true,
        default_value = "100/s:400",
        value_name = "RATE"
    )]
    limit_bad_bearer: Rate,
    /// Client secrets, refresh tokens and enrolment codes of one address that are not accepted
    #[arg(
        long,
        env = "AFTERCARE_LIMIT_FAILURES",
        hide_env_values = true,
        default_value = "20/min:20",
        value_name = "RATE"
    )]
    limit_failures: Rate,
    /// The largest request body, in bytes
    #[arg(
        long,
        env = "AFTERCARE_LIMIT_BODY",
        hide_env_values = true,
        default_value_t = 65_536,
        value_name = "BYTES"
    )]
    limit_body: usize,
    /// Connections at the same time; more wait
    #[arg(
        long,
        env = "AFTERCARE_LIMIT_CONNECTIONS",
        hide_env_values = true,
        default_value = "8192",
        value_name = "NUMBER"
    )]
    limit_connections: NonZeroUsize,
    /// Origins whose web apps may call, separated by commas, scheme and host; none by default
    #[arg(
        long,
        env = "AFTERCARE_CORS_ORIGINS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "ORIGINS"
    )]
    cors_origins: Vec<Origin>,
}

impl LimitArgs {
    /// The same settings with these limits.
    pub(super) fn of(&self, config: ApiConfig) -> ApiConfig {
        ApiConfig {
            limits: Limits {
                credential: self.limit_credential,
                bad_bearer: self.limit_bad_bearer,
                failures: self.limit_failures,
            },
            body_limit: self.limit_body,
            connections: self.limit_connections,
            cors: self.cors_origins.clone(),
            ..config
        }
    }
}
