//! Where an HTTP/2 server lives: scheme, host, port and a path in front of every request.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// A base URL. Clear text (`http`) is accepted for loopback hosts only: bearer tokens and push
/// addresses never cross a network unencrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("not an absolute URL (https://host/…)")]
    NotAUrl,
    /// A scheme other than `https` and `http`, a user name, or a query.
    #[error("only https:// (or http:// on a loopback host), without user name or query")]
    Unsupported,
    /// `http://` to another machine.
    #[error("http:// is allowed for loopback hosts only; use https://")]
    ClearText,
}

impl Endpoint {
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URL of `path` (which starts with a slash, or is empty) below this base.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, http::Error> {
        let path = if self.path.is_empty() && path.is_empty() { "/" } else { path };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.as_str())
            .path_and_query(format!("{}{path}", self.path))
            .build()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.trim().parse().map_err(|_| EndpointError::NotAUrl)?;
        let scheme = uri.scheme().cloned().ok_or(EndpointError::NotAUrl)?;
        let authority = uri.authority().ok_or(EndpointError::NotAUrl)?;
        let known = scheme == Scheme::HTTPS || scheme == Scheme::HTTP;
        if !known || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(EndpointError::Unsupported);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if scheme == Scheme::HTTP && !is_loopback(&host) {
            return Err(EndpointError::ClearText);
        }
        let port = authority.port_u16().unwrap_or(if scheme == Scheme::HTTPS { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, host, port, authority: authority.as_str().to_owned(), path })
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_https_anywhere_and_http_on_loopback() {
        for good in [
            "https://fcm.googleapis.com",
            "https://example.org:8443/base/",
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://localhost:1/x",
        ] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_clear_text_to_other_machines() {
        for bad in ["http://fcm.googleapis.com", "http://10.0.0.1:80", "http://localhost.evil.org"]
        {
            assert_eq!(bad.parse::<Endpoint>(), Err(EndpointError::ClearText), "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_no_base_url() {
        assert_eq!("fcm".parse::<Endpoint>(), Err(EndpointError::NotAUrl));
        assert_eq!("/v1".parse::<Endpoint>(), Err(EndpointError::NotAUrl));
        assert_eq!("ftp://localhost".parse::<Endpoint>(), Err(EndpointError::Unsupported));
        assert_eq!("https://u:p@host".parse::<Endpoint>(), Err(EndpointError::Unsupported));
        assert_eq!("https://host/?a=b".parse::<Endpoint>(), Err(EndpointError::Unsupported));
    }

    #[test]
    fn joins_paths_below_its_own() {
        let base: Endpoint = "https://host:8443/base/".parse().unwrap();
        assert_eq!(base.join("/v1/x:send").unwrap(), "https://host:8443/base/v1/x:send");
        assert_eq!((base.host(), base.port(), base.is_tls()), ("host", 8443, true));
        let v6: Endpoint = "http://[::1]".parse().unwrap();
        assert_eq!((v6.host(), v6.port(), v6.is_tls()), ("::1", 80, false));
    }
}
