//! The addresses that a request may go to.
//!
//! An administrator chooses the URL, and we call it. Without this check, a URL could make us call what only we can reach: the
//! machine itself, its neighbours, a cloud's metadata service.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether the address belongs to the public Internet.
///
/// Of IPv4, every address is public except the special blocks and one further address. Of IPv6, only addresses assigned as
/// global unicast are. So every form that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is refused
/// without being unpacked.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| block.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_UNICAST.contains(&address)
                && !SPECIAL_V6.iter().any(|block| block.contains(&address))
        }
    }
}

/// The blocks that are not public, from IANA's registry of special-purpose IPv4 addresses and its registry of the whole
/// space. 192.0.0.0/24 has two public anycast addresses, but neither is a web server's.
///
/// The last one is no block of IANA's: 168.63.129.16 lies among public addresses, and on every machine of Azure it is the
/// machine's own host, which hands out its configuration
/// (<https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>). What other clouds serve
/// metadata from lies in one of IANA's blocks.
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4(Ipv4Addr::new(0, 0, 0, 0), 8), // this network: RFC 791, section 3.2
    v4(Ipv4Addr::new(10, 0, 0, 0), 8), // private: RFC 1918
    v4(Ipv4Addr::new(100, 64, 0, 0), 10), // shared behind a carrier's NAT: RFC 6598
    v4(Ipv4Addr::new(127, 0, 0, 0), 8), // loopback: RFC 1122, section 3.2.1.3
    v4(Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, and where clouds serve metadata: RFC 3927
    v4(Ipv4Addr::new(172, 16, 0, 0), 12), // private: RFC 1918
    v4(Ipv4Addr::new(192, 0, 0, 0), 24), // protocol assignments: RFC 6890, section 2.1
    v4(Ipv4Addr::new(192, 0, 2, 0), 24), // documentation: RFC 5737
    v4(Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays, deprecated: RFC 7526
    v4(Ipv4Addr::new(192, 168, 0, 0), 16), // private: RFC 1918
    v4(Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarking: RFC 2544
    v4(Ipv4Addr::new(198, 51, 100, 0), 24), // documentation: RFC 5737
    v4(Ipv4Addr::new(203, 0, 113, 0), 24), // documentation: RFC 5737
    v4(Ipv4Addr::new(224, 0, 0, 0), 4), // multicast: RFC 5771
    v4(Ipv4Addr::new(240, 0, 0, 0), 4), // reserved, and broadcast: RFC 1112, section 4, and RFC 919
    v4(Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host of a virtual machine: see above
];

/// All that IANA hands out as global unicast: RFC 4291, section 2.4.
const GLOBAL_UNICAST: Ipv6Net = v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The blocks of [`GLOBAL_UNICAST`] that are not public, of IANA's registry of special-purpose IPv6 addresses.
const SPECIAL_V6: [Ipv6Net; 4] = [
    // Protocol assignments, RFC 2928: Teredo (RFC 4380), benchmarking (RFC 5180), ORCHID (RFC 7343), drones (RFC 9374).
    v6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation: RFC 3849
    v6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),     // 6to4: RFC 3056
    v6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),     // documentation: RFC 9637
];

const fn v4(first: Ipv4Addr, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(first, prefix)
}

const fn v6(first: Ipv6Addr, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(first, prefix)
}

/// The addresses that a [`Sender`](super::sender::Sender) may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Public addresses only.
    Public,
    /// Also 127.0.0.0/8 and `::1`. This is only for the local stack and for tests. An argument in code chooses it, since a
    /// mistake in configuration could switch on what configuration can.
    PublicAndLoopback,
}

impl AddressPolicy {
    /// Whether a request may go to the address.
    pub fn allows(self, address: IpAddr) -> bool {
        is_public(address) || (self == Self::PublicAndLoopback && address.is_loopback())
    }
}

/// A name has addresses, but none of them may be called.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no public address")]
pub struct AddressRefused {
    /// The name.
    pub host: String,
}

/// A name has no address, or the resolver could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{host} does not resolve: {reason}")]
pub struct NotResolved {
    /// The name.
    pub host: String,
    /// What the resolver said.
    pub reason: String,
    /// The resolver's own error. It shows when this machine has too few file descriptors to ask.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// Resolves names to allowed addresses only.
///
/// It is the resolver of the HTTP client, which connects to the very addresses that were checked. So a name that resolves
/// differently the next time gains nothing.
pub struct GuardedResolver {
    inner: Arc<dyn Resolve>,
    policy: AddressPolicy,
}

impl GuardedResolver {
    /// Passes on those of `inner`'s answers that `policy` allows.
    pub fn new(inner: Arc<dyn Resolve>, policy: AddressPolicy) -> Self {
        Self { inner, policy }
    }
}

impl Resolve for GuardedResolver {
    /// Fails with [`AddressRefused`] or [`NotResolved`].
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let policy = self.policy;
        let resolving = self.inner.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = match resolving.await {
                Ok(found) => found.collect(),
                Err(error) => {
                    return Err(NotResolved {
                        host,
                        reason: error.to_string(),
                        source: Some(error),
                    }
                    .into());
                }
            };
            if found.is_empty() {
                let reason = "it has no address".to_owned();
                return Err(NotResolved {
                    host,
                    reason,
                    source: None,
                }
                .into());
            }
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| policy.allows(address.ip()))
                // 0 stands for the URL's port. No answer about a name may change it.
                .map(|address| SocketAddr::new(address.ip(), 0))
                .collect();
            if allowed.is_empty() {
                return Err(AddressRefused { host }.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Asks the operating system to resolve names.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
