//! Where this machine is reached by the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket, lookup_host};

use crate::failure::{Exit, Failure};
use crate::remote::Remote;

/// An open port, and the address under which the server reaches it.
#[derive(Debug)]
pub struct Place {
    /// The port.
    pub listener: TcpListener,
    /// The host as the server is to write it, without brackets.
    pub host: String,
    /// The address that this host has.
    pub ip: IpAddr,
}

/// Opens a port that the server can reach: at the address asked for, or else where this machine is to be found from there.
///
/// # Errors
///
/// When the server is on the public network, from where this machine cannot be reached, or the port cannot be opened.
pub async fn place(remote: &Remote, asked: Option<&str>) -> Result<Place, Failure> {
    match asked {
        Some(asked) => at(asked).await,
        None => towards(remote).await,
    }
}

/// At an address that was given, with or without a port. One that is not this machine's own is one that leads here, such as
/// a router's: then all addresses are listened on.
async fn at(asked: &str) -> Result<Place, Failure> {
    let (host, port) = parts(asked)?;
    let failed = |problem: String| Failure::new(Exit::Failed, format!("--serve-files {asked}: {problem}"));
    let found = lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| failed(format!("its address is not found ({error})")))?;
    let addresses: Vec<_> = found.filter(|address| !address.ip().is_unspecified()).collect();
    if addresses.is_empty() {
        return Err(wrong(asked, "it is no address that a server can call; give one of this machine's own"));
    }
    for address in &addresses {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(Place { listener, host, ip: address.ip() });
        }
    }
    if port == 0 {
        return Err(wrong(asked, "this machine does not have it; give ADDR:PORT if it leads here"));
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

/// All addresses of this machine, of the same kind.
fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn parts(asked: &str) -> Result<(String, u16), Failure> {
    if let Ok(ip) = asked.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((ip.to_string(), 0));
    }
    if let Ok(address) = asked.parse::<SocketAddr>() {
        return Ok((address.ip().to_string(), address.port()));
    }
    match asked.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) if !host.is_empty() && !host.contains(['/', ':']) => Ok((host.to_owned(), port)),
            _ => Err(wrong(asked, "give ADDR or ADDR:PORT")),
        },
        None if asked.is_empty() || asked.contains('/') => Err(wrong(asked, "give ADDR or ADDR:PORT")),
        None => Ok((asked.to_owned(), 0)),
    }
}

fn wrong(asked: &str, problem: &str) -> Failure {
    Failure::usage(format!("--serve-files {asked}: {problem}"))
}

/// At the address of this machine that the server sees, if it is near.
async fn towards(remote: &Remote) -> Result<Place, Failure> {
    let failed = |problem: String| Failure::new(Exit::Failed, format!("local pictures cannot be served: {problem}"));
    let url = reqwest::Url::parse(remote.url()).map_err(|error| failed(error.to_string()))?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let found = lookup_host((host, port)).await.map_err(|error| failed(format!("{host} is not found: {error}")))?;
    let found: Vec<_> = found.collect();
    let near = found.iter().find(|address| is_near(address.ip()));
    let Some(server) = near else {
        let fix = "upload the picture somewhere and give its URL, or give an address of this machine that the server can \
                   reach with --serve-files ADDR[:PORT]";
        return Err(Failure::usage(format!(
            "the server {host} is on the public network and cannot fetch pictures of this machine; {fix}"
        )));
    };
    let own = local_address(*server).await.map_err(|error| failed(error.to_string()))?;
    let listener = TcpListener::bind((own, 0)).await.map_err(|error| failed(format!("{own}: {error}")))?;
    Ok(Place { listener, host: own.to_string(), ip: own })
}

/// The address that packets to the server leave from. Nothing is sent.
async fn local_address(server: SocketAddr) -> std::io::Result<IpAddr> {
    if server.ip().is_loopback() {
        return Ok(server.ip());
    }
    let socket = UdpSocket::bind((unspecified(server.ip()), 0)).await?;
    socket.connect(server).await?;
    Ok(socket.local_addr()?.ip())
}

/// Whether an address is this machine's or that of a private network.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // Carriers' networks (100.64.0.0/10) are what private overlay networks use, too.
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
    use crate::files::FileServer;

    #[test]
    fn near_is_what_is_private() {
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
            assert_eq!(is_near(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_read_in_every_form() {
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
    async fn a_near_server_is_served_from_the_address_that_it_sees() {
        let remote = |url: &str| Remote { client: Client::builder(url).build().unwrap() };
        let here = place(&remote("http://127.0.0.1:8080"), None).await.unwrap();
        assert_eq!((here.host.as_str(), here.listener.local_addr().unwrap().ip().is_loopback()), ("127.0.0.1", true));
        let far = place(&remote("https://1.1.1.1"), None).await.unwrap_err();
        assert!(far.message.starts_with("the server 1.1.1.1 is on the public network"), "{}", far.message);
        let given = place(&remote("https://1.1.1.1"), Some("127.0.0.1")).await.unwrap();
        assert_eq!(given.host, "127.0.0.1");
        let nowhere = place(&remote("https://1.1.1.1"), Some("0.0.0.0:99")).await.unwrap_err();
        assert!(nowhere.message.contains("no address that a server can call"), "{}", nowhere.message);
        // What is not this machine's own is listened for on all of its addresses, if the port is known.
        let foreign = place(&remote("https://1.1.1.1"), Some("203.0.113.7")).await.unwrap_err();
        assert!(foreign.message.contains("this machine does not have it"), "{}", foreign.message);
        assert_eq!(foreign.exit, Exit::Usage);
        // An operator allows what leads here, not the addresses that are listened on.
        let through = place(&remote("https://1.1.1.1"), Some(&format!("203.0.113.7:{}", free_port()))).await.unwrap();
        assert!(through.listener.local_addr().unwrap().ip().is_unspecified());
        assert_eq!(FileServer::start(through, &[]).unwrap().network(), "203.0.113.7/32");
        let sixth = place(&remote("https://1.1.1.1"), Some(&format!("[2001:db8::7]:{}", free_port()))).await;
        // Not every machine has IPv6.
        if let Ok(sixth) = sixth {
            assert_eq!(FileServer::start(sixth, &[]).unwrap().network(), "2001:db8::7/128");
        }
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// A command line that is right, on a network that is not, is no wrong command line.
    #[tokio::test]
    async fn what_the_network_lacks_is_no_fault_of_the_command_line() {
        let remote = |url: &str| Remote { client: Client::builder(url).build().unwrap() };
        let nameless = place(&remote("http://127.0.0.1"), Some("nowhere.invalid:99")).await.unwrap_err();
        assert!(nameless.message.contains("its address is not found"), "{}", nameless.message);
        let unknown = place(&remote("http://nowhere.invalid"), None).await.unwrap_err();
        assert!(unknown.message.contains("nowhere.invalid is not found"), "{}", unknown.message);
        let taken = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let asked = format!("203.0.113.7:{}", taken.local_addr().unwrap().port());
        let taken = place(&remote("http://127.0.0.1"), Some(&asked)).await.unwrap_err();
        assert_eq!([nameless.exit, unknown.exit, taken.exit], [Exit::Failed; 3]);
    }
}
