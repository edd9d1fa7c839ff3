//! Where the hub may connect to: every address is classified, and only public ones are open by themselves.
//!
//! What somebody else wrote (an address in a message, a name in a zone) must not make the hub talk to what
//! stands beside it. So a name is resolved once, **every** address it stands for is looked at, and the
//! connection goes to the address that was looked at.

pub mod literal;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somewhere on the internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of its owner.
    Private,
    /// The wire itself; services that hand out credentials of machines stand there.
    LinkLocal,
    /// Behind a provider's address translation.
    CarrierNat,
    /// Many receivers.
    Multicast,
    /// No address, or every one of this machine.
    Unspecified,
    /// For documentation, tests, or nothing yet.
    Reserved,
    /// IPv4 inside IPv6: leads to an address that a look at this one does not show.
    Embedded,
}

impl Reach {
    /// In words, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Loopback => "this machine",
            Self::Private => "a private network",
            Self::LinkLocal => "the local link",
            Self::CarrierNat => "a provider's own network",
            Self::Multicast => "a multicast group",
            Self::Unspecified => "no particular address",
            Self::Reserved => "a reserved address",
            Self::Embedded => "an IPv4 address inside an IPv6 one",
        }
    }
}

/// Returns what kind of place an address is. Whatever is not known to be public is not called so.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0, ..] => Reach::Unspecified,
        [127, ..] => Reach::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private,
        [169, 254, ..] => Reach::LinkLocal,
        [100, 64..=127, ..] => Reach::CarrierNat,
        // Protocol assignments, documentation, the old relays of 6to4, measuring devices.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Reach::Reserved
        }
        [224..=239, ..] => Reach::Multicast,
        [240..=255, ..] => Reach::Reserved,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // Compatible, mapped, translated, NAT64 in both forms, Teredo, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Reach::Embedded,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Reach::Embedded,
        [0x2001, 0, ..] | [0x2002, ..] => Reach::Embedded,
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Reach::Embedded,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Reach::Private,
        [0xfe80..=0xfebf, ..] => Reach::LinkLocal,
        [0xff00..=0xffff, ..] => Reach::Multicast,
        // Protocol assignments and documentation.
        [0x2001, 0x1..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Reserved,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Reserved,
    }
}

/// One entry of `egress.allow`: somewhere that is not public, and may be called all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All addresses that begin with these bits, at one port or at any.
    Range { network: IpAddr, bits: u8, port: Option<u16> },
    /// Whatever a name stands for, at one port or at any.
    Host { name: String, port: Option<u16> },
}

impl Default for Allowed {
    fn default() -> Self {
        Self::Host { name: String::new(), port: None }
    }
}

impl Allowed {
    /// Reads `10.0.0.0/8`, `10.1.2.3`, `10.1.2.3:8080`, `fd00::/8`, `[::1]:8080`, `chat.internal` or
    /// `chat.internal:8080`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead where that is known.
    pub fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        if let Some((address, bits)) = text.split_once('/') {
            let network: IpAddr = address.parse().map_err(|_| (format!("\"{}\" is no address", cut(address)), None))?;
            let most = if network.is_ipv4() { 32 } else { 128 };
            let bits: u8 = bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| (format!("a range has 0 to {most} bits"), Some(format!("{network}/{most}"))))?;
            let first = masked(network, bits);
            if first != network {
                let what = format!("{network} is inside the range, not its beginning");
                return Err((what, Some(format!("{first}/{bits}"))));
            }
            return Ok(Self::Range { network, bits, port: None });
        }
        let (host, port) = match text.parse::<IpAddr>() {
            Ok(_) => (text, None),
            Err(_) => host_and_port(text).ok_or_else(|| (format!("\"{}\" is no host and port", cut(text)), None))?,
        };
        if let Ok(network) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Range { network, bits: if network.is_ipv4() { 32 } else { 128 }, port });
        }
        if !is_host_name(host) {
            return Err((format!("\"{}\" is no host name", cut(host)), None));
        }
        Ok(Self::Host { name: host.to_ascii_lowercase(), port })
    }

    fn covers(&self, host: &str, address: IpAddr, at: u16) -> bool {
        match self {
            Self::Range { network, bits, port } => {
                port.is_none_or(|port| port == at)
                    && network.is_ipv4() == address.is_ipv4()
                    && masked(address, *bits) == *network
            }
            Self::Host { name, port } => {
                port.is_none_or(|port| port == at) && name.eq_ignore_ascii_case(host.trim_end_matches('.'))
            }
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { network: IpAddr::V6(one), bits: 128, port: Some(port) } => write!(f, "[{one}]:{port}"),
            Self::Range { network: one, bits, port } if *bits == (if one.is_ipv4() { 32 } else { 128 }) => {
                write!(f, "{one}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Range { network, bits, .. } => write!(f, "{network}/{bits}"),
            Self::Host { name, port } => {
                f.write_str(name)?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// Whether the hub may connect to an address that a host name stands for; otherwise why not.
///
/// # Errors
/// What kind of place it is.
pub fn permit(allow: &[Allowed], host: &str, address: IpAddr, port: u16) -> Result<(), Reach> {
    match reach(address) {
        Reach::Public => Ok(()),
        _ if allow.iter().any(|entry| entry.covers(host, address, port)) => Ok(()),
        other => Err(other),
    }
}

/// Whether a text can be the name of a host: letters, digits, `-`, `_` and dots.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Splits `host`, `host:port`, `[address]` or `[address]:port`; none where the port is none.
#[must_use]
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')? + 1;
        (&text[..end], text[end..].strip_prefix(':').or((end == text.len()).then_some("-"))?)
    } else {
        text.split_once(':').unwrap_or((text, "-"))
    };
    if port == "-" {
        return Some((host, None));
    }
    let is_plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| is_plain && *port != 0)?;
    Some((host, Some(port)))
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(
            a.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0),
        )),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(
            a.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0),
        )),
    }
}

fn cut(text: &str) -> String {
    crate::config::printable(text, 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_range_that_is_not_the_internet_is_known_by_its_first_and_last_address() {
        use Reach as R;
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", R::Unspecified),
            ("1.0.0.0", "9.255.255.255", R::Public),
            ("10.0.0.0", "10.255.255.255", R::Private),
            ("11.0.0.0", "100.63.255.255", R::Public),
            ("100.64.0.0", "100.127.255.255", R::CarrierNat),
            ("100.128.0.0", "126.255.255.255", R::Public),
            ("127.0.0.0", "127.255.255.255", R::Loopback),
            ("128.0.0.0", "169.253.255.255", R::Public),
            ("169.254.0.0", "169.254.255.255", R::LinkLocal),
            ("169.255.0.0", "172.15.255.255", R::Public),
            ("172.16.0.0", "172.31.255.255", R::Private),
            ("172.32.0.0", "191.255.255.255", R::Public),
            ("192.0.0.0", "192.0.0.255", R::Reserved),
            ("192.0.2.0", "192.0.2.255", R::Reserved),
            ("192.88.99.0", "192.88.99.255", R::Reserved),
            ("192.168.0.0", "192.168.255.255", R::Private),
            ("198.18.0.0", "198.19.255.255", R::Reserved),
            ("198.51.100.0", "198.51.100.255", R::Reserved),
            ("203.0.113.0", "203.0.113.255", R::Reserved),
            ("224.0.0.0", "239.255.255.255", R::Multicast),
            ("240.0.0.0", "255.255.255.255", R::Reserved),
            ("::", "::", R::Unspecified),
            ("::1", "::1", R::Loopback),
            ("::2", "::ffff:ffff", R::Embedded),
            ("::ffff:0.0.0.0", "::ffff:255.255.255.255", R::Embedded),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff", R::Embedded),
            ("64:ff9b::", "64:ff9b::ffff:ffff", R::Embedded),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", R::Embedded),
            ("100::", "100::ffff:ffff:ffff:ffff", R::Reserved),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", R::Embedded),
            ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", R::Reserved),
            ("2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", R::Public),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", R::Reserved),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Embedded),
            ("2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Public),
            ("2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1", R::Embedded),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", R::Reserved),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Reserved),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Private),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", R::Multicast),
        ] {
            assert_eq!(reach(first.parse().unwrap()), expected, "{first}");
            assert_eq!(reach(last.parse().unwrap()), expected, "{last}");
        }
    }

    #[test]
    fn only_what_is_listed_is_opened() {
        let cases = [
            (&["10.0.0.0/8"] as &[&str], "h", "10.1.2.3", 80, true),
            (&["10.0.0.0/8"], "h", "11.1.2.3", 80, true),
            (&["10.0.0.0/8"], "h", "192.168.1.1", 80, false),
            (&["127.0.0.1:8080"], "h", "127.0.0.1", 8080, true),
            (&["127.0.0.1:8080"], "h", "127.0.0.1", 8081, false),
            (&["127.0.0.1"], "h", "127.0.0.2", 8080, false),
            (&["127.0.0.1"], "h", "::ffff:127.0.0.1", 80, false),
            (&["0.0.0.0/0"], "h", "169.254.169.254", 80, true),
            (&["0.0.0.0/0"], "h", "::1", 80, false),
            (&["::/0"], "h", "::1", 80, true),
            (&["[::1]:80"], "h", "::1", 80, true),
            (&["[::1]:80"], "h", "::1", 81, false),
            (&["chat.internal:443"], "Chat.Internal.", "10.0.0.1", 443, true),
            (&["chat.internal:443"], "other.internal", "10.0.0.1", 443, false),
            (&["chat.internal"], "chat.internal", "10.0.0.1", 8443, true),
            (&[], "localhost", "127.0.0.1", 80, false),
        ];
        for (allow, host, address, port, expected) in cases {
            let list: Vec<Allowed> = allow.iter().map(|text| Allowed::parse(text).unwrap()).collect();
            let permitted = permit(&list, host, address.parse().unwrap(), port).is_ok();
            assert_eq!(permitted, expected, "{allow:?} {host} {address} {port}");
            assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), allow, "shown as written");
        }
    }

    #[test]
    fn what_is_no_entry_is_told_with_what_to_write() {
        for (text, hint) in [
            ("10.1.0.0/8", Some("10.0.0.0/8")),
            ("fd00::1/8", Some("fd00::/8")),
            ("10.0.0.0/33", Some("10.0.0.0/32")),
            ("10.0.0/8", None),
            ("", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:+1", None),
            ("-h", None),
            ("a b", None),
            ("[::1", None),
            ("http://host/", None),
        ] {
            let (_, found) = Allowed::parse(text).unwrap_err();
            assert_eq!(found.as_deref(), hint, "{text}");
        }
    }
}
