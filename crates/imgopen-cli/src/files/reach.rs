//! Finds an address of this machine that the server can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use tokio::net::{TcpListener, UdpSocket, lookup_host};

use crate::failure::{Exit, Failure};
use crate::remote::Remote;

/// An open port, and the address at which the server reaches it.
#[derive(Debug)]
pub struct Place {
    /// The listener on the port.
    pub listener: TcpListener,
    /// The host for URLs, without brackets.
    pub host: String,
    /// The address of the host.
    pub ip: IpAddr,
}

/// Opens a port that the server can reach: at the given address, or else at the address that this machine has in the server's
/// network.
///
/// # Errors
///
/// If no address is given and the server is on the public network, which cannot reach this machine, or if the port cannot be
/// opened.
pub async fn open(remote: &Remote, given: Option<&str>) -> Result<Place, Failure> {
    match given {
        Some(given) => at(given).await,
        None => towards(remote).await,
    }
}

/// Opens a port at a given address. If this machine does not have the address, something such as a router is expected to
/// forward the port, so all addresses are listened on.
async fn at(given: &str) -> Result<Place, Failure> {
    let (host, port) = parts(given)?;
    let failed = |problem: String| Failure::new(Exit::Failed, format!("--serve-files {given}: {problem}"));
    let found = lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| failed(format!("cannot resolve the host ({error})")))?;
    let addresses: Vec<_> = found.filter(|address| !address.ip().is_unspecified()).collect();
    if addresses.is_empty() {
        return Err(invalid(given, "not an address that a server can reach; give an address of this machine"));
    }
    for address in &addresses {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(Place { listener, host, ip: address.ip() });
        }
    }
    if port == 0 {
        return Err(invalid(
            given,
            "this machine does not have this address; if the address forwards to it, give ADDR:PORT",
        ));
    }
    let mut problem = String::new();
    for address in addresses {
        match TcpListener::bind((unspecified(address.ip()), port)).await {
            Ok(listener) => return Ok(Place { listener, host, ip: address.ip() }),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(failed(problem))
}

/// The unspecified address of the same family.
fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn parts(given: &str) -> Result<(String, u16), Failure> {
    if let Ok(ip) = given.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((ip.to_string(), 0));
    }
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok((address.ip().to_string(), address.port()));
    }
    match given.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) if !host.is_empty() && !host.contains(['/', ':']) => Ok((host.to_owned(), port)),
            _ => Err(invalid(given, "give ADDR or ADDR:PORT")),
        },
        None if given.is_empty() || given.contains('/') => Err(invalid(given, "give ADDR or ADDR:PORT")),
        None => Ok((given.to_owned(), 0)),
    }
}

fn invalid(given: &str, problem: &str) -> Failure {
    Failure::usage(format!("--serve-files {given}: {problem}"))
}

/// Opens a port at the address that this machine has in the server's network, if that is this machine or a private network.
async fn towards(remote: &Remote) -> Result<Place, Failure> {
    let failed = |problem: String| Failure::new(Exit::Failed, format!("cannot serve local pictures: {problem}"));
    let url = reqwest::Url::parse(remote.url()).map_err(|error| failed(error.to_string()))?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let found = lookup_host((host, port)).await.map_err(|error| failed(format!("cannot resolve {host}: {error}")))?;
    let found: Vec<_> = found.collect();
    let private = found.iter().find(|address| is_private(address.ip()));
    let Some(server) = private else {
        let fix = "upload the picture and give its URL, or use --serve-files ADDR[:PORT] to give an address of this machine \
                   that the server can reach";
        return Err(Failure::usage(format!(
            "the server {host} is on the public network and cannot fetch pictures from this machine; {fix}"
        )));
    };
    let own = local_address(*server).await.map_err(|error| failed(error.to_string()))?;
    let listener = TcpListener::bind((own, 0)).await.map_err(|error| failed(format!("{own}: {error}")))?;
    Ok(Place { listener, host: own.to_string(), ip: own })
}

/// Returns the source address of packets to the server. Nothing is sent.
async fn local_address(server: SocketAddr) -> std::io::Result<IpAddr> {
    if server.ip().is_loopback() {
        return Ok(server.ip());
    }
    let socket = UdpSocket::bind((unspecified(server.ip()), 0)).await?;
    socket.connect(server).await?;
    Ok(socket.local_addr()?.ip())
}

/// Returns the network of a single address.
pub fn network_of(ip: IpAddr) -> IpNet {
    ip.to_canonical().into()
}

/// Whether an address is on this machine or in a private network.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // Private overlay networks use the shared range of carriers, 100.64.0.0/10.
            let is_shared = first == 100 && (64..128).contains(&second);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use imgopen_client::Client;

    use super::*;

    #[test]
    fn private_addresses_are_recognised() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("192.168.7.20", true),
            ("100.100.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:192.168.1.1", true),
            ("172.32.0.1", false),
            ("100.128.0.1", false),
            ("93.184.216.34", false),
            ("2606:4700::1111", false),
        ] {
            assert_eq!(is_private(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_parsed_in_every_form() {
        let read = |text: &str| parts(text).map_err(|failure| failure.message);
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", 0),
            ("10.0.0.1:99", "10.0.0.1", 99),
            ("[::1]:99", "::1", 99),
            ("::1", "::1", 0),
            ("[::1]", "::1", 0),
            ("me.example", "me.example", 0),
            ("me.example:99", "me.example", 99),
        ] {
            assert_eq!(read(text), Ok((host.to_owned(), port)), "{text}");
        }
        for text in ["", "http://me.example", "me.example:x", ":99", "me.example:99999"] {
            assert_eq!(read(text), Err(format!("--serve-files {text}: give ADDR or ADDR:PORT")));
        }
    }

    #[tokio::test]
    async fn a_private_server_is_given_the_address_that_it_can_reach() {
        let remote = |url: &str| Remote { client: Client::builder(url).build().unwrap() };
        let here = open(&remote("http://127.0.0.1:8080"), None).await.unwrap();
        assert_eq!((here.host.as_str(), here.listener.local_addr().unwrap().ip().is_loopback()), ("127.0.0.1", true));
        let far = open(&remote("https://1.1.1.1"), None).await.unwrap_err();
        assert!(far.message.starts_with("the server 1.1.1.1 is on the public network"), "{}", far.message);
        let given = open(&remote("https://1.1.1.1"), Some("127.0.0.1")).await.unwrap();
        assert_eq!(given.host, "127.0.0.1");
        let nowhere = open(&remote("https://1.1.1.1"), Some("0.0.0.0:99")).await.unwrap_err();
        assert!(nowhere.message.contains("not an address that a server can reach"), "{}", nowhere.message);
        // For an address of another machine, all addresses are listened on, if the port is given.
        let foreign = open(&remote("https://1.1.1.1"), Some("203.0.113.7")).await.unwrap_err();
        assert!(foreign.message.contains("this machine does not have this address"), "{}", foreign.message);
        assert_eq!(foreign.exit, Exit::Usage);
        // The operator must allow the given address, not those that are listened on.
        let through = open(&remote("https://1.1.1.1"), Some(&format!("203.0.113.7:{}", free_port()))).await.unwrap();
        assert!(through.listener.local_addr().unwrap().ip().is_unspecified());
        assert_eq!(network_of(through.ip).to_string(), "203.0.113.7/32");
        let sixth = open(&remote("https://1.1.1.1"), Some(&format!("[2001:db8::7]:{}", free_port()))).await;
        // Not every machine has IPv6.
        if let Ok(sixth) = sixth {
            assert_eq!(network_of(sixth.ip).to_string(), "2001:db8::7/128");
        }
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Network errors do not exit with the code for an invalid command line.
    #[tokio::test]
    async fn a_network_error_is_not_a_usage_error() {
        let remote = |url: &str| Remote { client: Client::builder(url).build().unwrap() };
        let nameless = open(&remote("http://127.0.0.1"), Some("nowhere.invalid:99")).await.unwrap_err();
        assert!(nameless.message.contains("cannot resolve the host"), "{}", nameless.message);
        let unknown = open(&remote("http://nowhere.invalid"), None).await.unwrap_err();
        assert!(unknown.message.contains("cannot resolve nowhere.invalid"), "{}", unknown.message);
        let taken = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let given = format!("203.0.113.7:{}", taken.local_addr().unwrap().port());
        let taken = open(&remote("http://127.0.0.1"), Some(&given)).await.unwrap_err();
        assert_eq!([nameless.exit, unknown.exit, taken.exit], [Exit::Failed; 3]);
    }
}
