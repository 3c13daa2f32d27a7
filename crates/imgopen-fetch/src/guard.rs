//! Which addresses may be reached, and what a URL must look like before it is used at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

use crate::error::{FetchError, ShownUrl};
use crate::{ports, ranges};

/// The most bytes that a URL may have.
const URL_LIMIT: usize = 8192;

/// The policy: which addresses may be reached. Public ones, and those of the networks that the operator allows.
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
/// let refused = guard.check("http://0x7f.1/picture.png").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "http://127.0.0.1/picture.png is at 127.0.0.1, a loopback address; the operator can allow it with --allow-network"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
}

impl Guard {
    /// A guard that permits public addresses and those of these networks.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into_iter().map(unmapped).collect() }
    }

    /// Whether that address may be reached.
    ///
    /// IPv4-mapped IPv6 addresses (`::ffff:10.0.0.1`), and those of IPv4 translators (`64:ff9b::10.0.0.1`), are the IPv4
    /// address in them. All other forms that hold an IPv4 address (compatible, 6to4, Teredo, local translators) are
    /// refused whatever they hold, unless a network is allowed that contains them.
    pub fn permits(&self, ip: IpAddr) -> bool {
        self.refusal(ip).is_none()
    }

    /// Why that address may not be reached: what kind of address it is.
    pub(crate) fn refusal(&self, ip: IpAddr) -> Option<&'static str> {
        ranges::special(ip).filter(|_| !self.allows(ip))
    }

    fn allows(&self, ip: IpAddr) -> bool {
        let reached = [Some(ranges::canonical(ip)), ranges::translated(ip).map(IpAddr::V4)];
        reached.into_iter().flatten().any(|ip| self.allow.iter().any(|net| net.contains(&ip)))
    }

    /// Checks a URL as far as that goes without the network: scheme, user name, port, and the host if it is an address or
    /// `localhost`. Call it when a URL is handed in, to refuse it early; a [`Fetcher`](crate::Fetcher) checks again.
    ///
    /// Returns the URL as it will be used: read by the rules of browsers, so that `http://0x7f.1` is `http://127.0.0.1`
    /// and a space in a path is `%20`.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the URL, or why the address is refused.
    pub fn check(&self, url: &str) -> Result<Url, FetchError> {
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

    /// Names of this machine need no name service to be told. The url crate has put the name in lower case.
    fn check_name(&self, url: &Url, name: &str) -> Result<(), FetchError> {
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            let problem = "it names no host".to_owned();
            return Err(FetchError::Invalid { url: ShownUrl::of(url), problem });
        }
        if name != "localhost" && !name.ends_with(".localhost") || self.permits(Ipv6Addr::LOCALHOST.into()) {
            return Ok(());
        }
        self.check_address(url, Ipv4Addr::LOCALHOST.into())
    }
}

/// A network of IPv4-mapped addresses as the IPv4 network that it is.
fn unmapped(net: IpNet) -> IpNet {
    match (net.network().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new(ip, prefix).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}
