//! Which addresses a source may live at, where `allow_private_addresses` is off: global unicast only.
//!
//! A feed's URL, and every `Location` on the way to it, is somebody else's text: without this rule it
//! could have the daemon ask the metadata service of a cloud, a router or a database beside it. What
//! embeds an IPv4 address (mapped, NAT64, 6to4) is judged by that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address is reachable by anybody, by the registries of special-purpose addresses
/// (RFC 6890 and its updates); multicast is not.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

/// Names that mean this machine or a network of our own, whoever resolves them: RFC 6761, RFC 6762, RFC 8375, the
/// top-level domains set aside for such networks, and names without a dot. Where a proxy resolves names, nothing
/// else is known of them.
pub(super) fn is_local_name(name: &str) -> bool {
    const LOCAL: [&str; 8] = ["localhost", "localdomain", "local", "internal", "home.arpa", "lan", "home", "corp"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_under = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || LOCAL.into_iter().any(is_under)
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]            // this network, private, loopback
            | [100, 64..=127, ..]     // shared between a carrier and its customers
            | [169, 254, ..]          // link-local: metadata services
            | [172, 16..=31, ..]      // private
            | [192, 0, 0, _]          // protocol assignments
            | [192, 0, 2, _]          // documentation
            | [192, 88, 99, _]        // 6to4 relays, withdrawn
            | [192, 168, ..]          // private
            | [198, 18..=19, ..]      // benchmarks
            | [198, 51, 100, _]       // documentation
            | [203, 0, 113, _]        // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_global_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low), // IPv4-mapped
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // NAT64
        [0x2001, 0..=0x1ff, ..] => false,                          // protocol assignments, Teredo
        [0x2001, 0xdb8, ..] => false,                              // documentation
        [0x2002, high, low, ..] => embedded(high, low),            // 6to4
        [0x3fff, 0..=0xfff, ..] => false,                          // documentation
        // all that was ever given out as global unicast; loopback, unspecified, IPv4-compatible,
        // unique local, link-local, site-local, multicast, local NAT64 and SRv6 lie outside
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_networks_of_our_own_are_told_by_their_ends() {
        for local in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.b.localhost",
            "printer.local",
            "printer.Local.",
            "metadata.google.internal",
            "nas.home.arpa",
            "home.arpa",
            "localhost.localdomain",
            "router",
            "router.",
            "",
            "nas.lan",
        ] {
            assert!(is_local_name(local), "{local}");
        }
        for global in
            ["feed.example", "local.example", "notlocalhost.example", "mylocal.org.", "home.arpa.example", "xlocal.de"]
        {
            assert!(!is_local_name(global), "{global}");
        }
    }

    #[test]
    fn only_global_unicast_addresses_are_global() {
        let blocked = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:0:1:2::3",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in blocked {
            assert!(!is_global(address.parse().unwrap()), "{address}");
        }
        let global = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "3ffe::1",
            "3fff:1000::1",
        ];
        for address in global {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
    }
}
