//! Hosts that are written as numbers, in all the forms that a resolver takes for an address, and those that hand
//! out a machine's credentials to whoever asks from there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Allowed, Reach, permit, reach};

/// Names under which clouds serve the credentials of a machine.
const NAMES: [&str; 4] = ["metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// Addresses of the same that are not on the local link.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];

/// Where the names lead.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Returns the address that a host is when no name is looked up: also `0xa9fea9fe`, `2852039166`,
/// `0251.0376.0251.0376`, `169.254.43518`, `[fe80::1%eth0]`.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let bare = bare.split('%').next().unwrap_or(bare);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Some(address.into());
    }
    numbers(bare.strip_suffix('.').unwrap_or(bare)).map(IpAddr::V4)
}

/// One to four numbers, each decimal, octal or hexadecimal; the last fills what is left.
fn numbers(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let left = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?).filter(|left| *left > 0)?;
    if first.iter().any(|part| *part > 255) || u64::from(*last) >= 1 << left {
        return None;
    }
    let first = first.iter().zip([24, 16, 8]).fold(0, |bits, (part, at)| bits | part << at);
    Some(Ipv4Addr::from_bits(first | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

/// The IPv4 address to which an IPv6 one leads.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x2002, high, low, ..] => (high, low),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

fn hands_out_credentials(address: IpAddr) -> bool {
    reach(address) == Reach::LinkLocal || ADDRESSES.contains(&address)
}

/// Whether a git address may lead to this host; otherwise what is wrong with it. Names are not looked up, and this
/// machine and private networks stay open, since many servers of repositories stand there. On the local link stands
/// none, but what hands out a machine's credentials does.
///
/// # Errors
/// The address that it is, or stands for.
pub fn permit_git(allow: &[Allowed], host: &str, port: u16) -> Result<(), IpAddr> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = match literal(host) {
        Some(address) => address,
        None if NAMES.contains(&name.as_str()) => METADATA,
        None => return Ok(()),
    };
    let inside = match address {
        IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    let is_closed = hands_out_credentials(address) || inside.is_some_and(hands_out_credentials);
    if is_closed { permit(allow, host, address, port).map_err(|_| address) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_a_resolver_reads_it() {
        for (host, address) in [
            ("169.254.169.254", "169.254.169.254"),
            ("169.254.169.254.", "169.254.169.254"),
            ("2852039166", "169.254.169.254"),
            ("0xa9fea9fe", "169.254.169.254"),
            ("0XA9.0xFE.169.0376", "169.254.169.254"),
            ("0251.0376.0251.0376", "169.254.169.254"),
            ("025177524776", "169.254.169.254"),
            ("169.254.43518", "169.254.169.254"),
            ("169.16689662", "169.254.169.254"),
            ("127.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("[fe80::1%eth0]", "fe80::1"),
            ("::ffff:169.254.1.1", "::ffff:169.254.1.1"),
        ] {
            assert_eq!(literal(host), Some(address.parse().unwrap()), "{host}");
        }
        for name in [
            "",
            ".",
            "a",
            "0x",
            "08",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.65536",
            "4294967296",
            "1..2",
            "+1",
            "face",
            "1.-2",
        ] {
            assert_eq!(literal(name), None, "{name}");
        }
    }

    #[test]
    fn git_goes_neither_to_the_local_link_nor_to_where_credentials_are() {
        for host in [
            "169.254.0.0",
            "169.254.255.255",
            "2852039166",
            "0xa9.0xfe.0.1",
            "0251.254.1",
            "fe80::1",
            "[febf::1]",
            "[fe80::1%25eth0]",
            "::ffff:169.254.169.254",
            "[::ffff:a9fe:a9fe]",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "Metadata.Google.Internal.",
            "instance-data",
        ] {
            assert!(permit_git(&[], host, 80).is_err(), "{host}");
        }
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "10.0.0.1",
            "192.168.1.1",
            "fd00::1",
            "8.8.8.8",
            "forge.example",
            "169-254",
        ] {
            assert_eq!(permit_git(&[], host, 80), Ok(()), "{host}");
        }
    }

    #[test]
    fn what_is_listed_is_open_to_git_too() {
        let allow = |text| vec![Allowed::parse(text).unwrap()];
        assert!(permit_git(&allow("169.254.0.0/16"), "0xa9fe0001", 80).is_ok());
        assert!(permit_git(&allow("169.254.1.1:22"), "169.254.1.1", 22).is_ok());
        assert!(permit_git(&allow("169.254.1.1:22"), "169.254.1.1", 80).is_err());
        assert!(permit_git(&allow("169.254.0.0/16"), "::ffff:169.254.1.1", 80).is_err());
        assert!(permit_git(&allow("fe80::/10"), "[fe80::1]", 80).is_ok());
        assert!(permit_git(&allow("metadata.google.internal"), "metadata.google.internal", 80).is_ok());
    }
}
