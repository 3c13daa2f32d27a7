//! The policy: which addresses may be reached, and which URLs are accepted at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

use crate::error::FetchError;
use crate::shown::ShownUrl;
use crate::{ports, ranges};

/// The most bytes that a URL may have.
const URL_LIMIT: usize = 8192;

/// The addresses that may be reached: public ones, and those of the networks that the operator allows.
///
/// ```
/// use imgopen_fetch::Guard;
///
/// let guard = Guard::new(vec!["192.168.7.0/24".parse()?]);
/// assert!(guard.permits("1.1.1.1".parse()?));
/// assert!(guard.permits("192.168.7.20".parse()?));
/// assert!(!guard.permits("192.168.8.20".parse()?));
///
/// assert!(guard.check("https://example.com/picture.png").is_ok());
/// let rejected = guard.check("http://0x7f.1/picture.png").unwrap_err();
/// assert_eq!(
///     rejected.to_string(),
///     "http://127.0.0.1/picture.png is at 127.0.0.1, a loopback address; the operator can allow it with --allow-network"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
}

impl Guard {
    /// Creates a guard that permits public addresses and the addresses of these networks.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into_iter().map(unmapped).collect() }
    }

    /// Whether an address may be reached.
    ///
    /// IPv4-mapped IPv6 addresses (`::ffff:10.0.0.1`) and those of IPv4 translators (`64:ff9b::10.0.0.1`) count as the IPv4
    /// address they contain. All other forms that contain an IPv4 address (compatible, 6to4, Teredo, local translators) are
    /// rejected, unless an allowed network contains them.
    pub fn permits(&self, ip: IpAddr) -> bool {
        self.refusal(ip).is_none()
    }

    /// The kind of an address that may not be reached.
    pub(crate) fn refusal(&self, ip: IpAddr) -> Option<&'static str> {
        ranges::special(ip).filter(|_| !self.allows(ip))
    }

    fn allows(&self, ip: IpAddr) -> bool {
        let reached = [Some(ranges::canonical(ip)), ranges::translated(ip).map(IpAddr::V4)];
        reached.into_iter().flatten().any(|ip| self.allow.iter().any(|net| net.contains(&ip)))
    }

    /// Checks a URL without using the network: scheme, user name, port, and the host if it is an address or `localhost`. Call
    /// it when a URL is submitted, to reject it early; a [`Fetcher`](crate::Fetcher) checks again.
    ///
    /// Returns the URL as browsers would normalise it: `http://0x7f.1` becomes `http://127.0.0.1`, and a space in a path `%20`.
    /// White space and byte order marks around it are no part of it.
    ///
    /// # Errors
    ///
    /// If the text is not a URL, or the URL is rejected.
    pub fn check(&self, url: &str) -> Result<Url, FetchError> {
        let url = url.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if url.len() > URL_LIMIT {
            let shown = ShownUrl::of_start(url);
            return Err(FetchError::TooLong { url: shown, length: url.len(), limit: URL_LIMIT });
        }
        let invalid = |problem: url::ParseError| FetchError::Invalid {
            url: ShownUrl::of_text(url),
            problem: problem.to_string(),
        };
        let parsed = Url::parse(url).map_err(invalid)?;
        self.check_parsed(&parsed)?;
        Ok(parsed)
    }

    fn check_parsed(&self, url: &Url) -> Result<(), FetchError> {
        let shown = || ShownUrl::of(url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme { url: shown(), scheme: url.scheme().to_owned() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::UserInfo { url: shown() });
        }
        if let Some(port) = url.port().filter(|port| ports::is_bad(*port)) {
            return Err(FetchError::Port { url: shown(), port });
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_address(url, ip.into()),
            Some(Host::Ipv6(ip)) => self.check_address(url, ip.into()),
            Some(Host::Domain(name)) => self.check_name(url, name),
            None => Err(FetchError::Invalid { url: shown(), problem: "it names no host".to_owned() }),
        }
    }

    fn check_address(&self, url: &Url, address: IpAddr) -> Result<(), FetchError> {
        match self.refusal(address) {
            Some(kind) => Err(FetchError::Address { url: ShownUrl::of(url), address, kind }),
            None => Ok(()),
        }
    }

    /// Rejects the names of this machine, which are known without resolving them. The url crate has put the name in lower case.
    fn check_name(&self, url: &Url, name: &str) -> Result<(), FetchError> {
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            let problem = "it names no host".to_owned();
            return Err(FetchError::Invalid { url: ShownUrl::of(url), problem });
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if !is_local || self.permits(Ipv6Addr::LOCALHOST.into()) {
            return Ok(());
        }
        self.check_address(url, Ipv4Addr::LOCALHOST.into())
    }
}

/// Converts a network of IPv4-mapped addresses to the IPv4 network.
fn unmapped(net: IpNet) -> IpNet {
    match (net.network().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new(ip, prefix).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(guard: &Guard, url: &str) -> String {
        guard.check(url).expect_err(url).to_string()
    }

    #[test]
    fn every_spelling_of_a_private_address_is_rejected() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "127.0.0.0x1",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:FFFF:7F00:0001]",
            "[64:ff9b::127.0.0.1]",
        ] {
            let message = rejection(&Guard::default(), &format!("http://{host}/x.png"));
            assert!(message.contains("a loopback address; the operator can allow it"), "{host}: {message}");
        }
    }

    #[test]
    fn every_special_address_is_rejected_by_its_kind() {
        for (host, kind) in [
            ("0.0.0.0", "this network"),
            ("0", "this network"),
            ("10.1.2.3", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.100.100.200", "carrier"),
            ("169.254.169.254", "metadata"),
            ("0xa9fea9fe", "metadata"),
            ("168.63.129.16", "metadata"),
            ("169.254.170.2", "link-local"),
            ("192.0.0.192", "protocols"),
            ("192.0.2.1", "documentation"),
            ("198.19.255.255", "benchmarks"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("[::]", "unspecified"),
            ("[::1]", "loopback"),
            ("[::ffff:169.254.169.254]", "metadata"),
            ("[fd00:ec2::254]", "metadata"),
            ("[fd20:ce::254]", "private"),
            ("[fe80::1]", "link-local"),
            ("[fec0::1]", "reserved"),
            ("[ff02::1]", "multicast"),
            ("[2001:db8::1]", "documentation"),
            ("[3fff::1]", "documentation"),
            ("[2001::1]", "Teredo"),
            ("[2002:7f00:1::]", "6to4"),
            ("[2002:808:808::]", "6to4"),
            ("[64:ff9b:1::808:808]", "translator"),
            ("[64:ff9b::a00:1]", "private"),
            ("[::127.0.0.1]", "reserved"),
            ("[::8.8.8.8]", "reserved"),
            ("[::ffff:0:8.8.8.8]", "reserved"),
            ("[100::1]", "reserved"),
            ("[5f00::1]", "reserved"),
        ] {
            let message = rejection(&Guard::default(), &format!("https://{host}/"));
            assert!(message.contains(kind), "{host}: {message}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for url in [
            "https://example.com/a.png",
            "http://example.com.:8080/a b.png?x=1#y",
            "http://8.8.8.8/",
            "http://[2606:4700:4700::1111]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[64:ff9b::8.8.8.8]/",
            "https://bücher.example/",
            "HTTPS://EXAMPLE.COM:443/",
            "http://localhost.example.com/",
            "http://notlocalhost/",
        ] {
            assert!(Guard::default().check(url).is_ok(), "{url}");
        }
        assert_eq!(
            Guard::default().check(" http://example.com/a b.png ").unwrap().as_str(),
            "http://example.com/a%20b.png"
        );
    }

    #[test]
    fn names_of_this_machine_are_rejected() {
        for host in
            ["localhost", "LOCALHOST", "localhost.", "x.localhost", "x.localhost.:8080", "ｌocalhost", "%6cocalhost"]
        {
            let message = rejection(&Guard::default(), &format!("http://{host}/"));
            assert!(message.contains("is at 127.0.0.1, a loopback address"), "{host}: {message}");
        }
    }

    #[test]
    fn other_schemes_ports_and_malformed_urls_are_rejected() {
        for (url, expected) in [
            ("", "is not a URL"),
            ("picture.png", "is not a URL"),
            ("//example.com/", "is not a URL"),
            ("http://", "empty host"),
            ("http://./", "it names no host"),
            ("http:///", "empty host"),
            ("http://[fe80::1%25eth0]/", "is not a URL"),
            ("http://256.0.0.1/", "is not a URL"),
            ("http://example.com:99999/", "invalid port"),
            ("http://exa mple.com/", "is not a URL"),
            ("file:///etc/passwd", "has the scheme `file`"),
            ("ftp://example.com/", "has the scheme `ftp`"),
            ("data:image/png;base64,AAAA", "has the scheme `data`"),
            ("gopher://example.com:70/_x", "has the scheme `gopher`"),
            ("http://example.com:22/", "names port 22"),
            ("http://example.com:0/", "names port 0"),
            ("https://8.8.8.8:6667/", "names port 6667"),
        ] {
            let message = rejection(&Guard::default(), url);
            assert!(message.contains(expected), "{url}: {message}");
        }
        assert!(
            rejection(&Guard::default(), &format!("http://example.com/{}", "a".repeat(9000)))
                .contains("9019 characters")
        );
    }

    #[test]
    fn no_message_shows_a_secret() {
        for url in [
            "http://me:hunter2@example.com/",
            "http://hunter2@127.0.0.1/",
            "http://:hunter2@example.com/",
            "http://10.0.0.1/?key=hunter2",
            "http://10.0.0.1/#hunter2",
            "http://me:hunter2@exa mple.com/",
            "http//me:hunter2@example.com/",
            "ftp://me:hunter2@example.com/",
            "http://[/?key=hunter2",
            &format!("http://me:hunter2@example.com/{}", "a".repeat(9000)),
        ] {
            let message = rejection(&Guard::default(), url);
            assert!(!message.contains("hunter2"), "{message}");
        }
        let message = rejection(&Guard::default(), "http://trusted.example@10.0.0.1/x?y=z");
        assert_eq!(
            message,
            "http://10.0.0.1/x?… holds a user name or a password, which would be sent along; leave them out"
        );
    }

    #[test]
    fn an_allowed_network_is_permitted_in_every_form() {
        let guard = Guard::new(vec!["10.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        for url in [
            "http://10.0.0.5/",
            "http://167772165/",
            "http://[::ffff:10.0.0.5]/",
            "http://[64:ff9b::10.0.0.5]/",
            "http://[fd12:1::5]/",
        ] {
            assert!(guard.check(url).is_ok(), "{url}");
        }
        for url in [
            "http://11.0.0.5:22/",
            "http://10.0.0.5:22/",
            "http://192.168.0.1/",
            "http://[fd13::1]/",
            "http://localhost/",
        ] {
            assert!(guard.check(url).is_err(), "{url}");
        }
        let mapped = Guard::new(vec!["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert!(mapped.permits("10.0.0.5".parse().unwrap()) && !mapped.permits("192.168.0.1".parse().unwrap()));
        let all_v6 = Guard::new(vec!["::/0".parse().unwrap()]);
        assert!(all_v6.permits("::1".parse().unwrap()) && !all_v6.permits("::ffff:10.0.0.5".parse().unwrap()));
        assert!(
            all_v6.check("http://localhost/").is_ok(),
            "the resolver returns ::1, and the guard filters its other answers"
        );
    }
}
