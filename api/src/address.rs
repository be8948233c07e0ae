//! Whose address a request came from, when proxies stand in between.
//!
//! Anybody may write `X-Forwarded-For`, so it counts only as far as proxies that the operator named
//! wrote it: from the right, the first address that is no trusted proxy is the client's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use actix_web::HttpRequest;

/// A range of addresses, written `10.0.0.0/8`, `2001:db8::/32` or as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                leading(u128::from(base.to_bits() ^ address.to_bits()) << 96) >= self.prefix
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                leading(base.to_bits() ^ address.to_bits()) >= self.prefix
            }
            _ => false,
        }
    }
}

/// The number of leading zero bits, at most 128.
fn leading(bits: u128) -> u8 {
    u8::try_from(bits.leading_zeros()).unwrap_or(128)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (base, prefix) = text.split_once('/').map_or((text, None), |(b, p)| (b, Some(p)));
        let base: IpAddr = base.trim().parse().map_err(|_| NetworkError)?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.trim().parse().map_err(|_| NetworkError)?,
            None => longest,
        };
        if prefix > longest { Err(NetworkError) } else { Ok(Self { base, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Text that names no range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a range of addresses; write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError;

/// The client's address: the peer's, or what the trusted proxies say it is.
#[must_use]
pub fn client_address(request: &HttpRequest, trusted: &[Network]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer.to_canonical();
    }
    let lines = request.headers().get_all("x-forwarded-for");
    let hops: Vec<&str> =
        lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).collect();
    let mut client = peer;
    for hop in hops.iter().rev() {
        let Some(address) = parse_hop(hop) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client.to_canonical()
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    if let Some(rest) = hop.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for line in forwarded {
            request = request.append_header(("X-Forwarded-For", *line));
        }
        client_address(&request.to_http_request(), &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_name_its_own_address() {
        assert_eq!(client("203.0.113.9:1", &["10.0.0.1"], &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9:1", &["10.0.0.1"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn trusted_proxies_are_peeled_from_the_right() {
        let trusted = ["10.0.0.0/8", "::1"];
        let forwarded = ["6.6.6.6, 198.51.100.7", "10.2.0.1:8443"];
        assert_eq!(client("10.1.2.3:1", &forwarded, &trusted), "198.51.100.7");
        assert_eq!(client("[::1]:1", &["[2001:db8::7]:443"], &trusted), "2001:db8::7");
        assert_eq!(client("10.1.2.3:1", &["unknown"], &trusted), "10.1.2.3");
        assert_eq!(client("[::ffff:10.1.2.3]:1", &["198.51.100.7"], &trusted), "198.51.100.7");
    }

    #[test]
    fn networks_are_checked() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/x"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(
            !"2001:db8::/32".parse::<Network>().unwrap().contains("2001:db9::".parse().unwrap())
        );
    }
}
