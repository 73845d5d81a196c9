//! Load balancers whose `X-Forwarded-*` may be believed.

use std::net::IpAddr;

/// Networks in CIDR form, or single addresses.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<(IpAddr, u8)>);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a network: write it like 10.0.0.0/8 or 192.0.2.7")]
pub struct NotANetwork(String);

impl TrustedProxies {
    pub fn parse(networks: &[String]) -> Result<Self, NotANetwork> {
        networks
            .iter()
            .map(|text| network(text).ok_or_else(|| NotANetwork(text.clone())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|(network, prefix)| match (network, peer) {
            (IpAddr::V4(network), IpAddr::V4(peer)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
                network.to_bits() & mask == peer.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(peer)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
                network.to_bits() & mask == peer.to_bits() & mask
            }
            _ => false,
        })
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.trim().parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |prefix| prefix.trim().parse().ok())?;
    (prefix <= longest).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_inside_the_networks_are_trusted() {
        let networks = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/0"].map(str::to_owned);
        let inside = TrustedProxies::parse(&networks[..3]).unwrap();
        for (peer, expected) in [
            ("10.255.1.2", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.1.1", true),
            ("2001:db8:5::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(inside.trusts(peer.parse().unwrap()), expected, "{peer}");
        }
        assert!(TrustedProxies::parse(&networks[3..]).unwrap().trusts("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["10.0.0.0/33", "10.0.0/8", "proxy.example.com", "", "10.0.0.0/x", "::/129"] {
            assert!(TrustedProxies::parse(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
