//! Which machines a clinic may have us speak to: those of the internet, never our own neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far webhooks reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Public addresses, and only over `https`.
    #[default]
    Internet,
    /// This machine too, there also over `http`: for development.
    LoopbackToo,
}

impl Reach {
    /// Whether a connection to this address may be opened. Everything that is not handed out for use on
    /// the internet is refused: a resolved name may lead anywhere.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        let public = match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        public || (self == Self::LoopbackToo && address.is_loopback())
    }
}

/// What IANA's registry of special addresses (RFC 6890 and later) leaves over.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared_by_carriers = a == 100 && (64..128).contains(&b);
    let is_for_protocols = matches!((a, b, c), (192, 0, 0) | (192, 88, 99));
    let is_for_benchmarks = a == 198 && (18..20).contains(&b);
    // This network; reserved, and broadcast.
    let is_unused = a == 0 || a >= 240;
    !(address.is_private()
        || address.is_loopback()
        // The metadata servers of clouds are here.
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared_by_carriers
        || is_for_protocols
        || is_for_benchmarks
        || is_unused)
}

/// Global unicast (`2000::/3`) without what is in it for other ends. Whatever wraps an IPv4 address (mapped,
/// compatible, NAT64) and all local ranges lie outside of it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    match first {
        // Protocol assignments, Teredo and benchmarks among them; documentation.
        0x2001 => second >= 0x0200 && second != 0x0db8,
        // 6to4 wraps IPv4.
        0x2002 => false,
        // Documentation.
        0x3fff => second >= 0x1000,
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_reached() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4009::200e",
            "2001:200::1",
            "2001:4860:4860::8888",
        ] {
            assert!(Reach::Internet.allows(public.parse().unwrap()), "{public}");
        }
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!Reach::Internet.allows(refused.parse().unwrap()), "{refused}");
        }
    }

    #[test]
    fn in_development_this_machine_is_reached_and_its_neighbours_are_not() {
        for here in ["127.0.0.1", "127.8.8.8", "::1"] {
            assert!(Reach::LoopbackToo.allows(here.parse().unwrap()), "{here}");
        }
        for neighbour in ["10.0.0.1", "169.254.169.254", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert!(!Reach::LoopbackToo.allows(neighbour.parse().unwrap()), "{neighbour}");
        }
    }
}
