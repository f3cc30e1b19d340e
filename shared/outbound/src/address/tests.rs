use super::*;
use crate::sender::{DEADLINE, Refused, Sender, SenderOptions};
use domain::webhook::url::WebhookUrl;
use proptest::prelude::*;
use rstest::rstest;
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
    for inner in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "2002:a00:1::1",
        "fd00::1",
        "fe80::1",
    ] {
        let resolver = guarded(AddressPolicy::Public, &[&["8.8.8.8"], &[inner]]);
        assert_eq!(ask(&resolver).await.unwrap(), ["8.8.8.8:0"]);
        let error = ask(&resolver).await.expect_err(inner);
        let refused = error.downcast_ref::<AddressRefused>().unwrap();
        assert_eq!(refused.host, "receiver.example", "{inner}");
    }
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
        "::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:2:3:4::",
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

/// What stands between `https://` and the end, and what is to become of it.
type Row = (&'static str, Verdict);

/// The first and the last address of every block that is not public, and their public neighbours.
const BLOCKS_4: &[Row] = &[
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
    ("168.63.129.15", Allowed),
    ("168.63.129.16", No),
    ("168.63.129.17", Allowed),
    ("169.253.255.255", Allowed),
    ("169.254.0.0", No),
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
];

/// The same below `2000::/3`: unspecified, loopback, compatible, mapped, NAT64, discard-only.
const BELOW_GLOBAL: &[Row] = &[
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
];

/// The same of protocol assignments: Teredo, benchmarking, ORCHID; and of what else lies within `2000::/3`.
const PROTOCOLS: &[Row] = &[
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
];

/// The same above `2000::/3`: segment routing, unique local, link-local, site-local, multicast.
const ABOVE_GLOBAL: &[Row] = &[
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

/// Where clouds serve a machine's metadata, credentials and configuration.
const METADATA: &[Row] = &[
    // AWS: instances, containers of ECS and of EKS, and the same over IPv6; its resolver and its clock.
    ("169.254.169.254", No),
    ("169.254.170.2", No),
    ("169.254.170.23", No),
    ("[fd00:ec2::254]", No),
    ("[fd00:ec2::23]", No),
    ("169.254.169.253", No),
    ("[fd00:ec2::253]", No),
    ("169.254.169.123", No),
    ("[fd00:ec2::123]", No),
    // Azure beside 169.254.169.254: the host of a virtual machine, also in IPv6's spellings.
    ("168.63.129.16", No),
    ("[::ffff:168.63.129.16]", No),
    ("[64:ff9b::168.63.129.16]", No),
    // Google Cloud, Alibaba, Oracle, Tencent, Scaleway, Akamai, Rancher.
    ("[fd20:ce::254]", No),
    ("100.100.100.200", No),
    ("192.0.0.192", No),
    ("[fd00:c1::a9fe:a9fe]", No),
    ("169.254.0.23", No),
    ("169.254.42.42", No),
    ("[fd00:a9fe:a9fe::1]", No),
    ("169.254.169.250", No),
];

/// Numbers: decimal, octal, hexadecimal, fewer than four.
const NUMBERS: &[Row] = &[
    ("2130706433/", No),
    ("017700000001/", No),
    ("0x7f000001/", No),
    ("0177.0.0.1/", No),
    ("0x7f.1/", No),
    ("127.1/", No),
    ("127.0.1/", No),
    ("0/", No),
    ("0x7F.0X1/", No),
    ("0300.0250.1/", No),
    ("0x/", No),
    ("0xa9.254.0251.254/", No),
    ("0xa83f8110/", No),
    ("168.63.33040/", No),
    ("127.0.0.08/", Invalid),
    ("127.0.0.1.5/", Invalid),
    ("%31%32%37.0.0.1/", No),
    ("127%2e0%2e0%2e1/", No),
    ("127%2E0%2E0%2E1/", No),
    ("127%252e0%252e0%252e1/", Invalid),
    ("127.0.0.1%00.public.example/", Invalid),
    ("public.example%00.127.0.0.1/", Invalid),
    ("134744072/", Allowed),
    ("127.0.0.256/", Invalid),
    ("4294967296/", Invalid),
];

/// Trailing dots, ports, paths.
const ENDINGS: &[Row] = &[
    ("127.0.0.1./", No),
    ("127.0.0.1../", Invalid),
    ("localhost./", No),
    ("localhost../", Invalid),
    (".localhost/", Invalid),
    ("[::1]./", Invalid),
    ("127.0.0.1:8443/", No),
    ("[::1]:8443/", No),
    ("8.8.8.8:8443/127.0.0.1", Allowed),
    ("8.8.8.8/?to=127.0.0.1", Allowed),
    ("127.0.0.1:0/", Invalid),
    ("127.0.0.1:65536/", Invalid),
    ("127.0.0.1:-1/", Invalid),
];

/// Which part is the host?
const PARTS: &[Row] = &[
    ("8.8.8.8@127.0.0.1/", No),
    ("8.8.8.8:443@127.0.0.1/", No),
    ("127.0.0.1@8.8.8.8/", Allowed),
    ("127.0.0.1:443@8.8.8.8/", Allowed),
    ("@127.0.0.1/", No),
    (":@127.0.0.1/", No),
    ("8.8.8.8:443:443@127.0.0.1/", No),
    ("127.0.0.1:443:443@8.8.8.8/", Allowed),
    ("8.8.8.8?@169.254.169.254", Allowed),
    ("169.254.169.254?@8.8.8.8", No),
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
];

/// Zones of IPv6.
const ZONES: &[Row] = &[
    ("[fe80::1%25eth0]/", Invalid),
    ("[fe80::1%eth0]/", Invalid),
    ("[::1%25lo]/", Invalid),
];

/// Other letters for the same name or number.
const LETTERS: &[Row] = &[
    ("\u{ff11}\u{ff12}\u{ff17}.0.0.1/", No),
    ("\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2460}/", No),
    ("127\u{3002}0\u{3002}0\u{3002}1/", No),
    ("127\u{ff61}0\u{ff61}0\u{ff61}1/", No),
    ("127\u{ff0e}0\u{ff0e}0\u{ff0e}1/", No),
    ("\u{24db}ocalhost/", No),
    ("loc\u{ad}alhost/", No),
    ("LOCALHOST/", No),
    ("[::FFFF:7F00:1]/", No),
];

/// Names, by what they resolve to.
const NAMES: &[Row] = &[
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
    ("siit.example/", No),
    ("compatible.example/", No),
    ("teredo.example/", No),
    ("carrier.example/", No),
    ("this-host.example/", No),
    ("unspecified.example/", No),
    ("broadcast.example/", No),
    ("multicast.example/", No),
    ("link-local.example/", No),
    ("link-local-6.example/", No),
    ("unique-local.example/", No),
    ("wireserver.example/", No),
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
            "siit.example" => &["::ffff:0:10.0.0.1"],
            "compatible.example" => &["::10.0.0.1"],
            "teredo.example" => &["2001:0:4136:e378:8000:63bf:f5ff:fffe"],
            "carrier.example" => &["100.64.0.1"],
            "this-host.example" => &["0.0.0.0"],
            "unspecified.example" => &["::"],
            "broadcast.example" => &["255.255.255.255"],
            "multicast.example" => &["224.0.0.1", "ff02::1"],
            "link-local.example" => &["169.254.1.1"],
            "link-local-6.example" => &["fe80::1"],
            "unique-local.example" => &["fc00::1", "fd00::1"],
            "wireserver.example" => &["168.63.129.16"],
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

#[rstest]
#[case::blocks_of_ipv4(BLOCKS_4)]
#[case::blocks_below_global_unicast(BELOW_GLOBAL)]
#[case::blocks_of_global_unicast(PROTOCOLS)]
#[case::blocks_above_global_unicast(ABOVE_GLOBAL)]
#[case::metadata_of_clouds(METADATA)]
#[case::numbers_in_other_spellings(NUMBERS)]
#[case::dots_ports_and_paths(ENDINGS)]
#[case::which_part_is_the_host(PARTS)]
#[case::zones(ZONES)]
#[case::other_letters(LETTERS)]
#[case::names(NAMES)]
#[tokio::test]
async fn no_spelling_of_an_inner_address_is_let_out(#[case] rows: &[Row]) {
    let options = SenderOptions {
        addresses: AddressPolicy::Public,
        plain_http: false,
        deadline: DEADLINE,
    };
    let sender = Sender::with_resolver(options, Arc::new(Names)).unwrap();
    let mut wrong = Vec::new();
    for (rest, expected) in rows {
        let url = format!("https://{rest}");
        let got = verdict(&sender, &url).await;
        if got != *expected {
            wrong.push(format!("{url:?}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
