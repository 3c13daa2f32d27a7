//! Properties of all addresses and texts: the guard agrees with a second implementation of its rules, and never panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use imgopen_fetch::Guard;
use proptest::prelude::*;
use url::Host;

/// The rules for IPv4 again, by octets.
fn public_v4(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0 | 10 | 127 | 224.., ..] => false,
        [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] | [198, 18 | 19, ..] => false,
        [192, 0, 0 | 2, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 88, 99, _] | [192, 175, 48, _] => false,
        [198, 51, 100, _] | [203, 0, 113, _] => false,
        _ => ip != Ipv4Addr::new(168, 63, 129, 16),
    }
}

/// The rules for IPv6 again, by segments.
fn public_v6(ip: Ipv6Addr) -> bool {
    let [.., high, low] = ip.segments();
    let inner = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => public_v4(inner),
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x2620, 0x4f, 0x8000, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

/// Bases at and near the borders of special ranges; their low bits are drawn at random.
#[rustfmt::skip]
const V4_BASES: [[u8; 4]; 26] = [
    [0, 0, 0, 0], [1, 0, 0, 0], [10, 0, 0, 0], [100, 63, 0, 0], [100, 64, 0, 0], [100, 128, 0, 0], [127, 0, 0, 0],
    [168, 63, 129, 16], [169, 253, 0, 0], [169, 254, 0, 0], [169, 254, 169, 254], [172, 15, 0, 0], [172, 16, 0, 0],
    [172, 32, 0, 0], [192, 0, 0, 0], [192, 0, 2, 0], [192, 31, 196, 0], [192, 52, 193, 0], [192, 88, 99, 0],
    [192, 168, 0, 0], [192, 175, 48, 0], [198, 18, 0, 0], [198, 51, 100, 0], [203, 0, 113, 0], [224, 0, 0, 0],
    [240, 0, 0, 0],
];

#[rustfmt::skip]
const V6_BASES: [&str; 22] = [
    "::", "::1", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "100::", "1fff::", "2001::", "2001:1::",
    "2001:200::", "2001:db8::", "2002::", "2620:4f:8000::", "3fff::", "3fff:1000::", "4000::", "5f00::", "fc00::",
    "fd00:ec2::254", "fe80::", "ff00::",
];

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let near = (proptest::sample::select(&V4_BASES[..]), any::<u32>(), 0u32..=32).prop_map(|(base, drawn, bits)| {
        let low = drawn & 1u32.checked_shl(bits).map_or(u32::MAX, |bit| bit - 1);
        Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) ^ low)
    });
    prop_oneof![any::<u32>().prop_map(Ipv4Addr::from), near]
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let near = (proptest::sample::select(&V6_BASES[..]), any::<u128>(), 0u32..=128).prop_map(|(base, drawn, bits)| {
        let low = drawn & 1u128.checked_shl(bits).map_or(u128::MAX, |bit| bit - 1);
        Ipv6Addr::from(u128::from(base.parse::<Ipv6Addr>().expect("every base is an address")) ^ low)
    });
    prop_oneof![any::<u128>().prop_map(Ipv6Addr::from), near]
}

fn url_like() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "http",
        "https",
        "file",
        ":",
        "/",
        "//",
        "@",
        "[",
        "]",
        "::",
        "127",
        ".",
        "0x7f",
        "localhost",
        "%",
        "%31",
        "?",
        "#",
        "\\",
        " ",
        "\t",
        "\0",
        "１",
        "。",
        "ß",
        "xn--",
        "-",
        "1",
        "99999",
        "٣",
        "\u{202e}",
        "\u{ad}",
        "user",
        "ffff",
    ]);
    let pieces =
        proptest::collection::vec(prop_oneof![piece.prop_map(str::to_owned), ".".prop_map(String::from)], 0..12);
    (proptest::sample::select(vec!["", "http://", "https://", "http:", "//"]), pieces)
        .prop_map(|(start, rest)| start.to_owned() + &rest.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ipv4_gets_the_same_verdict_in_every_form(ip in v4()) {
        let guard = Guard::default();
        let expected = public_v4(ip);
        prop_assert_eq!(guard.permits(ip.into()), expected);
        prop_assert_eq!(guard.permits(ip.to_ipv6_mapped().into()), expected);
        let [a, b, c, d] = ip.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        prop_assert_eq!(guard.permits(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into()), expected);
        for wrapped in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        ] {
            prop_assert!(!guard.permits(wrapped.into()), "{}", wrapped);
        }
    }

    #[test]
    fn ipv4_gets_the_same_verdict_in_every_spelling(ip in v4()) {
        let number = u32::from(ip);
        let [a, b, c, d] = ip.octets();
        for host in [
            format!("{ip}"),
            format!("{number}"),
            format!("{number:#x}"),
            format!("0{number:o}"),
            format!("{a}.{}", number & 0xff_ffff),
            format!("{a}.{b}.{}", number & 0xffff),
            format!("{a:#x}.0{b:o}.{c}.{d}."),
            format!("[::ffff:{ip}]"),
        ] {
            prop_assert_eq!(Guard::default().check(&format!("http://{host}/")).is_ok(), public_v4(ip), "{}", host);
        }
    }

    #[test]
    fn ipv6_gets_the_expected_verdict(ip in v6()) {
        prop_assert_eq!(Guard::default().permits(ip.into()), public_v6(ip));
        prop_assert_eq!(Guard::default().check(&format!("https://[{ip}]:8443/x")).is_ok(), public_v6(ip));
    }

    #[test]
    fn an_allowed_network_permits_its_addresses_and_no_others(ip in v4(), net in v4(), prefix in 1u8..=32) {
        let net = ipnet::Ipv4Net::new(net, prefix).unwrap().trunc();
        let guard = Guard::new(vec![net.into()]);
        prop_assert_eq!(guard.permits(ip.into()), public_v4(ip) || net.contains(&ip));
    }

    #[test]
    fn no_text_panics_and_accepted_urls_are_safe(text in prop_oneof![url_like(), any::<String>()]) {
        if let Ok(url) = Guard::default().check(&text) {
            prop_assert!(matches!(url.scheme(), "http" | "https"));
            prop_assert!(url.username().is_empty() && url.password().is_none());
            match url.host() {
                Some(Host::Ipv4(ip)) => prop_assert!(public_v4(ip)),
                Some(Host::Ipv6(ip)) => prop_assert!(public_v6(ip)),
                // A connector uses a name that parses as an address directly, without the resolver.
                Some(Host::Domain(name)) => prop_assert!(name.parse::<IpAddr>().is_err()),
                None => prop_assert!(false, "no host"),
            }
        }
    }
}
