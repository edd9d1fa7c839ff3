//! Where a connection comes from.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;

use crate::limit::address_key;
use crate::state::Settings;

/// The other end of a connection; put into every request by [`crate::serve::serve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The socket in the hub's own folder.
    Local,
    Address(IpAddr),
}

impl Peer {
    /// Returns whoever is behind a listed proxy; others' forwarding headers are not looked at.
    #[must_use]
    pub fn behind_proxies(self, headers: &HeaderMap, settings: &Settings) -> Self {
        let Self::Address(mut address) = self else { return self };
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let mut hops: Vec<&str> = forwarded.flat_map(|text| text.split(',')).map(str::trim).collect();
        while settings.proxies.contains(&address.to_canonical()) {
            let Some(Ok(before)) = hops.pop().map(str::parse) else { break };
            address = before;
        }
        Self::Address(address)
    }

    /// The key by which its requests are counted.
    #[must_use]
    pub fn key(self) -> u128 {
        match self {
            Self::Local => address_key(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Self::Address(address) => address_key(address),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_listed_proxies_are_believed() {
        let address = |text: &str| Peer::Address(text.parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "127.0.0.1, 192.0.2.7, 10.0.0.2".parse().unwrap());
        let settings =
            Settings { proxies: vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()], ..Settings::default() };
        let seen = |peer: &str| address(peer).behind_proxies(&headers, &settings);
        assert_eq!(seen("198.51.100.1"), address("198.51.100.1"));
        assert_eq!(seen("10.0.0.1"), address("192.0.2.7"), "nothing before the first stranger counts");
        assert_eq!(Peer::Local.behind_proxies(&headers, &settings), Peer::Local);
    }
}
