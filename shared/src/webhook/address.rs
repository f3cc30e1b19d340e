//! Which addresses a request may go to.
//!
//! An administrator chooses the URL and we are the ones who call it. Without this check, a URL could make us call what
//! only we can reach: the machine itself, its neighbours, a cloud's metadata service.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether the address belongs to the public Internet.
///
/// Of IPv4 that is everything but the special blocks. Of IPv6 it is only what is handed out as global unicast, so every
/// form that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is refused without being unpacked.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| contains_v4(*block, address)),
        IpAddr::V6(address) => {
            contains_v6(GLOBAL_UNICAST, address)
                && !SPECIAL_V6.iter().any(|block| contains_v6(*block, address))
        }
    }
}

/// The blocks that are not public, of IANA's registry of special-purpose IPv4 addresses and its registry of the whole
/// space. 192.0.0.0/24 has two public anycast addresses, neither of them of web servers.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),  // this network: RFC 791, section 3.2
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private: RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10), // shared behind a carrier's NAT: RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback: RFC 1122, section 3.2.1.3
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, and where clouds serve metadata: RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12), // private: RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24), // protocol assignments: RFC 6890, section 2.1
    (Ipv4Addr::new(192, 0, 2, 0), 24), // documentation: RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays, deprecated: RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private: RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarking: RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation: RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation: RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4), // multicast: RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4), // reserved, and broadcast: RFC 1112, section 4, and RFC 919
];

/// All that IANA hands out as global unicast: RFC 4291, section 2.4.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The blocks of [`GLOBAL_UNICAST`] that are not public, of IANA's registry of special-purpose IPv6 addresses.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    // Protocol assignments, RFC 2928: Teredo (RFC 4380), benchmarking (RFC 5180), ORCHID (RFC 7343), drones (RFC 9374).
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation: RFC 3849
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),     // 6to4: RFC 3056
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),     // documentation: RFC 9637
];

fn contains_v4((first, prefix): (Ipv4Addr, u32), address: Ipv4Addr) -> bool {
    (first.to_bits() ^ address.to_bits()) >> (Ipv4Addr::BITS - prefix) == 0
}

fn contains_v6((first, prefix): (Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (first.to_bits() ^ address.to_bits()) >> (Ipv6Addr::BITS - prefix) == 0
}

/// The addresses that a [`Sender`](super::sender::Sender) may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Public addresses only.
    Public,
    /// Also 127.0.0.0/8 and `::1`. For the local stack and for tests only, and chosen by an argument in code: what
    /// configuration can switch on, a mistake in configuration switches on too.
    PublicAndLoopback,
}

impl AddressPolicy {
    /// Whether a request may go to the address.
    pub fn allows(self, address: IpAddr) -> bool {
        is_public(address) || (self == Self::PublicAndLoopback && address.is_loopback())
    }
}

/// A name has addresses, and none of them may be called.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no public address")]
pub struct AddressRefused {
    /// The name.
    pub host: String,
}

/// A name has no address, or it could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("{host} does not resolve: {reason}")]
pub struct NotResolved {
    /// The name.
    pub host: String,
    /// What the resolver said.
    pub reason: String,
    /// The resolver's own error: it tells a name that does not exist from a machine that cannot ask.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// Resolves names to allowed addresses only.
///
/// As the resolver of an HTTP client it has the last word: the client connects to the very addresses that were checked,
/// so a name that answers otherwise the next time it is asked gains nothing.
pub struct GuardedResolver {
    inner: Arc<dyn Resolve>,
    policy: AddressPolicy,
}

impl GuardedResolver {
    /// Lets through what `policy` allows of the answers of `inner`.
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
                // 0 stands for the URL's port, which no answer about a name may change.
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

/// Asks the operating system.
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
mod tests {
    use super::*;
    use crate::webhook::sender::{DEADLINE, Refused, Sender, SenderOptions};
    use crate::webhook::url::WebhookUrl;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// Answers with one list after the other.
    struct Scripted(Mutex<Vec<Vec<IpAddr>>>);

    impl Resolve for Scripted {
        fn resolve(&self, _: Name) -> Resolving {
            let addresses = self.0.lock().unwrap().remove(0);
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 4711));
            Box::pin(async move { Ok(Box::new(addresses) as Addrs) })
        }
    }

    fn guarded(policy: AddressPolicy, answers: &[&[&str]]) -> GuardedResolver {
        let answers = answers
            .iter()
            .map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect())
            .collect();
        GuardedResolver::new(Arc::new(Scripted(Mutex::new(answers))), policy)
    }

    async fn ask(resolver: &GuardedResolver) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
        let found = resolver
            .resolve("receiver.example".parse().unwrap())
            .await?;
        Ok(found.map(|address| address.to_string()).collect())
    }

    #[tokio::test]
    async fn a_name_that_changes_to_an_inner_address_is_refused_then() {
        let resolver = guarded(AddressPolicy::Public, &[&["8.8.8.8"], &["127.0.0.1"]]);
        assert_eq!(ask(&resolver).await.unwrap(), ["8.8.8.8:0"]);
        let error = ask(&resolver).await.unwrap_err();
        let refused = error.downcast_ref::<AddressRefused>().unwrap();
        assert_eq!(refused.host, "receiver.example");
    }

    #[tokio::test]
    async fn of_a_mixed_answer_only_the_public_addresses_are_left() {
        let mixed: &[&str] = &["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "fd00::1"];
        let resolver = guarded(AddressPolicy::Public, &[mixed]);
        assert_eq!(
            ask(&resolver).await.unwrap(),
            ["8.8.8.8:0", "[2606:4700::1111]:0"]
        );
    }

    #[tokio::test]
    async fn loopback_is_allowed_by_the_policy_for_tests_and_nothing_else_is() {
        let answer: &[&str] = &["127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"];
        let resolver = guarded(AddressPolicy::PublicAndLoopback, &[answer]);
        assert_eq!(ask(&resolver).await.unwrap(), ["127.0.0.1:0", "[::1]:0"]);
    }

    #[tokio::test]
    async fn a_name_without_addresses_does_not_resolve() {
        let error = ask(&guarded(AddressPolicy::Public, &[&[]]))
            .await
            .unwrap_err();
        let not_resolved = error.downcast_ref::<NotResolved>().unwrap();
        assert_eq!(
            not_resolved.to_string(),
            "receiver.example does not resolve: it has no address"
        );
    }

    proptest! {
        #[test]
        fn no_address_that_carries_an_ipv4_address_is_public(bits: u32, prefix in prop::sample::select(vec![
            "::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:2:3:4::",
        ])) {
            let prefix: Ipv6Addr = prefix.parse().unwrap();
            let address = Ipv6Addr::from_bits(prefix.to_bits() | u128::from(bits));
            prop_assert!(!is_public(address.into()), "{address}");
        }

        #[test]
        fn the_wrapped_standard_predicates_are_never_public(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            if address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast()
                || address.is_broadcast() || address.is_documentation() || address.is_unspecified()
            {
                prop_assert!(!is_public(address.into()), "{address}");
            }
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Verdict {
        Allowed,
        Refused,
        /// Not even a URL of a webhook.
        Invalid,
    }
    use Verdict::{Allowed, Invalid, Refused as No};

    /// The first and the last address of every block that is not public, and their public neighbours.
    const BLOCKS: &[(&str, Verdict)] = &[
        ("0.0.0.0", No),
        ("0.255.255.255", No),
        ("1.0.0.0", Allowed),
        ("9.255.255.255", Allowed),
        ("10.0.0.0", No),
        ("10.255.255.255", No),
        ("11.0.0.0", Allowed),
        ("100.63.255.255", Allowed),
        ("100.64.0.0", No),
        ("100.127.255.255", No),
        ("100.128.0.0", Allowed),
        ("126.255.255.255", Allowed),
        ("127.0.0.0", No),
        ("127.0.0.1", No),
        ("127.255.255.255", No),
        ("128.0.0.0", Allowed),
        ("169.253.255.255", Allowed),
        ("169.254.0.0", No),
        ("169.254.169.254", No),
        ("169.254.255.255", No),
        ("169.255.0.0", Allowed),
        ("172.15.255.255", Allowed),
        ("172.16.0.0", No),
        ("172.31.255.255", No),
        ("172.32.0.0", Allowed),
        ("191.255.255.255", Allowed),
        ("192.0.0.0", No),
        ("192.0.0.255", No),
        ("192.0.1.0", Allowed),
        ("192.0.1.255", Allowed),
        ("192.0.2.0", No),
        ("192.0.2.255", No),
        ("192.0.3.0", Allowed),
        ("192.88.98.255", Allowed),
        ("192.88.99.0", No),
        ("192.88.99.255", No),
        ("192.88.100.0", Allowed),
        ("192.167.255.255", Allowed),
        ("192.168.0.0", No),
        ("192.168.255.255", No),
        ("192.169.0.0", Allowed),
        ("198.17.255.255", Allowed),
        ("198.18.0.0", No),
        ("198.19.255.255", No),
        ("198.20.0.0", Allowed),
        ("198.51.99.255", Allowed),
        ("198.51.100.0", No),
        ("198.51.100.255", No),
        ("198.51.101.0", Allowed),
        ("203.0.112.255", Allowed),
        ("203.0.113.0", No),
        ("203.0.113.255", No),
        ("203.0.114.0", Allowed),
        ("223.255.255.255", Allowed),
        ("224.0.0.0", No),
        ("239.255.255.255", No),
        ("240.0.0.0", No),
        ("255.255.255.255", No),
        // Below 2000::/3: unspecified, loopback, compatible, mapped, NAT64, discard-only.
        ("[::]", No),
        ("[::1]", No),
        ("[::8.8.8.8]", No),
        ("[::127.0.0.1]", No),
        ("[::ffff:8.8.8.8]", No),
        ("[::ffff:127.0.0.1]", No),
        ("[::ffff:0:127.0.0.1]", No),
        ("[64:ff9b::8.8.8.8]", No),
        ("[64:ff9b::ffff:ffff]", No),
        ("[64:ff9b:1::]", No),
        ("[64:ff9b:1:ffff:ffff:ffff:ffff:ffff]", No),
        ("[100::]", No),
        ("[100:0:0:1::]", No),
        ("[1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[2000::]", Allowed),
        ("[2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", Allowed),
        // Protocol assignments: Teredo, benchmarking, ORCHID.
        ("[2001::]", No),
        ("[2001:0:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[2001:2::]", No),
        ("[2001:20::]", No),
        ("[2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[2001:200::]", Allowed),
        ("[2001:db7:ffff:ffff:ffff:ffff:ffff:ffff]", Allowed),
        ("[2001:db8::]", No),
        ("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[2001:db9::]", Allowed),
        ("[2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", Allowed),
        ("[2002::]", No),
        ("[2002:7f00:1::]", No),
        ("[2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[2003::]", Allowed),
        ("[3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", Allowed),
        ("[3fff::]", No),
        ("[3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[3fff:1000::]", Allowed),
        ("[3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", Allowed),
        // Above 2000::/3: segment routing, unique local, link-local, site-local, multicast.
        ("[4000::]", No),
        ("[5f00::]", No),
        ("[5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[fc00::]", No),
        ("[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[fe80::]", No),
        ("[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[fec0::]", No),
        ("[feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
        ("[ff00::]", No),
        ("[ff02::1]", No),
        ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", No),
    ];

    /// What stands between `https://` and the end, and how it is meant to be misread.
    const DISGUISES: &[(&str, Verdict)] = &[
        // Numbers: decimal, octal, hexadecimal, fewer than four.
        ("2130706433/", No),
        ("017700000001/", No),
        ("0x7f000001/", No),
        ("0177.0.0.1/", No),
        ("0x7f.1/", No),
        ("127.1/", No),
        ("127.0.1/", No),
        ("0/", No),
        ("0x7F.0X1/", No),
        ("%31%32%37.0.0.1/", No),
        ("134744072/", Allowed),
        ("127.0.0.256/", Invalid),
        ("4294967296/", Invalid),
        // Trailing dots, ports, paths.
        ("127.0.0.1./", No),
        ("localhost./", No),
        ("127.0.0.1:8443/", No),
        ("[::1]:8443/", No),
        ("8.8.8.8:8443/127.0.0.1", Allowed),
        ("8.8.8.8/?to=127.0.0.1", Allowed),
        // Which part is the host?
        ("8.8.8.8@127.0.0.1/", No),
        ("8.8.8.8:443@127.0.0.1/", No),
        ("127.0.0.1@8.8.8.8/", Allowed),
        ("127.0.0.1:443@8.8.8.8/", Allowed),
        ("8.8.8.8%40127.0.0.1/", Invalid),
        ("127.0.0.1#@8.8.8.8/", Invalid),
        ("8.8.8.8#@127.0.0.1/", Invalid),
        ("127.0.0.1\\@8.8.8.8/", Invalid),
        ("8.8.8.8\\@127.0.0.1/", Invalid),
        ("8.8.8.8\\.127.0.0.1/", Invalid),
        ("8.8.8.8@127.0.0.1@8.8.8.8/", Allowed),
        ("8.8.8.8/@127.0.0.1/", Allowed),
        ("/127.0.0.1/", No),
        ("8.8.8.8\t@127.0.0.1/", Invalid),
        ("127.0.\n0.1/", Invalid),
        (" 127.0.0.1/", Invalid),
        // Zones of IPv6.
        ("[fe80::1%25eth0]/", Invalid),
        ("[fe80::1%eth0]/", Invalid),
        ("[::1%25lo]/", Invalid),
        // Other letters for the same name or number.
        ("\u{ff11}\u{ff12}\u{ff17}.0.0.1/", No),
        ("127\u{3002}0\u{3002}0\u{3002}1/", No),
        ("127\u{ff0e}0\u{ff0e}0\u{ff0e}1/", No),
        ("\u{24db}ocalhost/", No),
        ("loc\u{ad}alhost/", No),
        ("LOCALHOST/", No),
        ("[::FFFF:7F00:1]/", No),
        // Names, by what they resolve to.
        ("localhost/", No),
        ("foo.localhost/", No),
        ("backend/", No),
        ("metadata.google.internal/", No),
        ("METADATA.google.internal/", No),
        ("instance-data.ec2.internal/", No),
        ("127.0.0.1.nip.example/", No),
        ("mapped.example/", No),
        ("nat64.example/", No),
        ("6to4.example/", No),
        ("mixed.example/", Allowed),
        ("public.example/", Allowed),
        ("not-yet-there.example/", Allowed),
    ];

    /// What the names above resolve to.
    struct Names;

    impl Resolve for Names {
        fn resolve(&self, name: Name) -> Resolving {
            let addresses: &[&str] = match name.as_str().trim_end_matches('.') {
                "localhost" | "foo.localhost" => &["::1", "127.0.0.1"],
                "backend" => &["172.18.0.3"],
                "metadata.google.internal" | "instance-data.ec2.internal" => {
                    &["169.254.169.254", "fd00:ec2::254"]
                }
                "127.0.0.1.nip.example" => &["127.0.0.1"],
                "mapped.example" => &["::ffff:10.0.0.1"],
                "nat64.example" => &["64:ff9b::10.0.0.1"],
                "6to4.example" => &["2002:a00:1::1"],
                "mixed.example" => &["10.0.0.1", "8.8.8.8"],
                "public.example" => &["8.8.8.8"],
                _ => &[],
            };
            let addresses: Vec<SocketAddr> = addresses
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
                .collect();
            Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
        }
    }

    async fn verdict(sender: &Sender, url: &str) -> Verdict {
        let Ok(url) = url.parse::<WebhookUrl>() else {
            return Invalid;
        };
        match sender.check(&url).await {
            Ok(()) => Allowed,
            Err(Refused::Address { .. }) => No,
            Err(Refused::PlainHttp) => panic!("{url:?} is https"),
        }
    }

    #[tokio::test]
    async fn no_spelling_of_an_inner_address_is_let_out() {
        let options = SenderOptions {
            addresses: AddressPolicy::Public,
            plain_http: false,
            deadline: DEADLINE,
        };
        let sender = Sender::with_resolver(options, Arc::new(Names)).unwrap();
        let blocks = BLOCKS.iter().map(|(host, no)| (format!("{host}/"), *no));
        let disguises = DISGUISES.iter().map(|(rest, no)| (rest.to_string(), *no));
        let mut wrong = Vec::new();
        for (rest, expected) in blocks.chain(disguises) {
            let url = format!("https://{rest}");
            let got = verdict(&sender, &url).await;
            if got != expected {
                wrong.push(format!("{url:?}: {got:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
