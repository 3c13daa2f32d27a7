//! The ranges of addresses that are not on the public internet.
//!
//! Sources: the IANA special-purpose address registries,
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>, as of 2025; the multicast and reserved blocks of the IANA
//! address space registries; and the metadata address that one cloud provider placed in a public block.
//!
//! Entries that the registries mark as globally reachable are included, because anycast name servers serve no pictures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Special IPv4 ranges, with the phrase that messages use for their addresses. The first match counts.
const V4: [(Ipv4Net, &str); 21] = [
    (v4(0, 0, 0, 0, 8), "an address of \"this network\""),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "a carrier's shared address"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(168, 63, 129, 16, 32), "a cloud metadata address"),
    (v4(169, 254, 169, 254, 32), "a cloud metadata address"),
    (v4(169, 254, 0, 0, 16), "a link-local address"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "an address for protocols"),
    (v4(192, 0, 2, 0, 24), "an address for documentation"),
    (v4(192, 31, 196, 0, 24), "an address for protocols"),
    (v4(192, 52, 193, 0, 24), "an address for protocols"),
    (v4(192, 88, 99, 0, 24), "an address for protocols"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(192, 175, 48, 0, 24), "an address for protocols"),
    (v4(198, 18, 0, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 0, 24), "an address for documentation"),
    (v4(203, 0, 113, 0, 24), "an address for documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The block that IANA assigns to networks of the internet. Everything outside is special, so that ranges reserved in the
/// future are covered.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Special ranges within [`GLOBAL_V6`].
const IN_GLOBAL_V6: [(Ipv6Net, &str); 6] = [
    (v6(0x2001, 0, 0, 32), "a Teredo tunnel's address"),
    (v6(0x2001, 0, 0, 23), "an address for protocols"),
    (v6(0x2001, 0xdb8, 0, 32), "an address for documentation"),
    (v6(0x2002, 0, 0, 16), "a 6to4 tunnel's address"),
    (v6(0x2620, 0x4f, 0x8000, 48), "an address for protocols"),
    (v6(0x3fff, 0, 0, 20), "an address for documentation"),
];

/// Special ranges outside [`GLOBAL_V6`] that messages name.
const OUTSIDE_GLOBAL_V6: [(Ipv6Net, &str); 7] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (v6(0x64, 0xff9b, 1, 48), "a local translator's address"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128), "a cloud metadata address"),
    (v6(0xfc00, 0, 0, 7), "a private address"),
    (v6(0xfe80, 0, 0, 10), "a link-local address"),
    (v6(0xff00, 0, 0, 8), "a multicast address"),
];

/// The well-known prefix of translators from IPv6 to IPv4 (NAT64, RFC 6052). An IPv6-only network reaches the whole IPv4
/// internet through it, so the IPv4 address inside decides.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// The address that the operating system would connect to: an IPv4-mapped IPv6 address means the IPv4 address inside.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The IPv4 address that a translator would connect to.
pub(crate) fn translated(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V6(ip) if NAT64.contains(&ip) => {
            let [.., a, b, c, d] = ip.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// The phrase for an address that is not on the public internet.
pub(crate) fn special(ip: IpAddr) -> Option<&'static str> {
    match (canonical(ip), translated(ip)) {
        (_, Some(inner)) => special_v4(inner),
        (IpAddr::V4(ip), _) => special_v4(ip),
        (IpAddr::V6(ip), _) => special_v6(ip),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, name)| *name)
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let named =
        |table: &[(Ipv6Net, &'static str)]| table.iter().find(|(net, _)| net.contains(&ip)).map(|(_, name)| *name);
    if GLOBAL_V6.contains(&ip) {
        named(&IN_GLOBAL_V6)
    } else {
        named(&OUTSIDE_GLOBAL_V6).or(Some("a reserved address"))
    }
}
