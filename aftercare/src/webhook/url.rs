//! The URL of a webhook: checked before it is kept, and taken apart when it is used.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;

use super::Reach;

/// The longest URL that is kept, in bytes.
const LONGEST: usize = 2048;

/// An absolute `https` URL without user name and fragment; in development `http` on this machine too.
///
/// ```
/// use aftercare::webhook::{Reach, WebhookUrl};
///
/// let url = WebhookUrl::parse("https://hooks.example:8443/aftercare?key=7", Reach::Internet)?;
/// assert_eq!((url.host(), url.port(), url.target()), ("hooks.example", 8443, "/aftercare?key=7"));
/// assert!(WebhookUrl::parse("http://hooks.example/", Reach::Internet).is_err());
/// # Ok::<_, aftercare::webhook::WebhookUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    is_tls: bool,
    host: String,
    port: u16,
    target: String,
}

/// Why nothing is told at a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It cannot be read, or says too much.
    #[error("must be an https URL of at most {LONGEST} bytes, without user name and fragment")]
    NotAUrl,
    /// It leads to a machine that is not on the internet.
    #[error("must lead to a public address")]
    NotPublic,
}

impl WebhookUrl {
    /// Reads a URL and refuses one that could never be used. Where a name leads is looked at each time
    /// it is used.
    ///
    /// # Errors
    /// [`WebhookUrlError`].
    pub fn parse(text: &str, reach: Reach) -> Result<Self, WebhookUrlError> {
        let uri: Uri = text.parse().map_err(|_| WebhookUrlError::NotAUrl)?;
        let authority = uri.authority().ok_or(WebhookUrlError::NotAUrl)?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let says_too_much = authority.as_str().contains('@') || text.contains('#');
        let known = is_tls || uri.scheme() == Some(&Scheme::HTTP);
        if text.len() > LONGEST || says_too_much || !known {
            return Err(WebhookUrlError::NotAUrl);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let address: Option<IpAddr> = host.parse().ok();
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if host.is_empty() || address.is_none() && !host.bytes().all(in_name) {
            return Err(WebhookUrlError::NotAUrl);
        }
        let here = host.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback());
        if here && reach == Reach::Internet || address.is_some_and(|ip| !reach.allows(ip)) {
            return Err(WebhookUrlError::NotPublic);
        }
        if !is_tls && !here {
            return Err(WebhookUrlError::NotAUrl);
        }
        // `Authority::port` takes a port that is too large for none.
        let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
            "" => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            port => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                port.ok_or(WebhookUrlError::NotAUrl)?
            }
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { text: text.to_owned(), is_tls, host, port, target })
    }

    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the request names: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// The path of a webhook may be a secret: nothing of it is printed.
impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, reach: Reach) -> Option<WebhookUrlError> {
        WebhookUrl::parse(text, reach).err()
    }

    #[test]
    fn takes_https_on_any_port() {
        for good in [
            "https://hooks.example/",
            "https://hooks.example",
            "https://hooks.example:1/x?y=z",
            "https://93.184.215.14/x",
            "https://[2606:4700::1111]:8443/x",
        ] {
            assert_eq!(refused(good, Reach::Internet), None, "{good}");
        }
    }

    #[test]
    fn refuses_what_is_no_url_of_a_receiver() {
        let long = format!("https://hooks.example/{}", "x".repeat(LONGEST));
        for bad in [
            "",
            "hooks.example",
            "/v1",
            "ftp://hooks.example/",
            "http://hooks.example/",
            "https://",
            "https://u@hooks.example/",
            "https://u:p@hooks.example/",
            "https://hooks.example/#f",
            "https://hooks.example:99999/",
            "https://hooks example/",
            "https://ho%6fks.example/",
            "https://hoöks.example/",
            "file:///etc/passwd",
            &long,
        ] {
            assert_eq!(refused(bad, Reach::Internet), Some(WebhookUrlError::NotAUrl), "{bad}");
        }
    }

    #[test]
    fn refuses_addresses_that_are_not_public() {
        for bad in [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://LOCALHOST:8443/",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest",
            "https://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(refused(bad, Reach::Internet), Some(WebhookUrlError::NotPublic), "{bad}");
        }
        for good in ["http://127.0.0.1:9/x", "http://localhost/", "https://[::1]/"] {
            assert_eq!(refused(good, Reach::LoopbackToo), None, "{good}");
        }
        let neighbour = refused("http://10.0.0.1/", Reach::LoopbackToo);
        assert_eq!(neighbour, Some(WebhookUrlError::NotPublic));
    }
}
