//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Reads an address and a port, such as `0.0.0.0:8080`. A name is resolved, and a port alone is one of this machine: anyone who
/// wants to be reached from elsewhere says so.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    const EXAMPLES: &str = "give ADDR:PORT, such as 127.0.0.1:8080, or :8080 for this machine alone";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let meant = address_and_port(text).map(|meant| format!(", or {meant} if its last part is the port"));
        let example = SocketAddr::new(ip, 8080);
        return Err(format!("the port is missing; give one, such as {example}{}", meant.unwrap_or_default()));
    }
    let (host, port) = text.rsplit_once(':').ok_or(EXAMPLES)?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port; {EXAMPLES}"))?;
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !host.chars().all(is_name) {
        return Err(format!("{host:?} is neither an address nor a name; {EXAMPLES}"));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("{host} cannot be resolved: {error}"))?;
    // Clients and the documentation say 127.0.0.1 where a name has both.
    let found: Vec<_> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("{host} has no address; {EXAMPLES}"))
}

/// Reads an IPv6 address that is followed by a port without the brackets that it needs, such as `::1:8080`.
fn address_and_port(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(IpAddr::V6(ip.parse().ok()?), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "127.0.0.1:8080"),
            (":0", "127.0.0.1:0"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(listen(text).map(|address| address.to_string()), Ok(address.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_rejected() {
        for (text, problem) in [
            ("8080", "give ADDR:PORT, such as 127.0.0.1:8080, or :8080"),
            ("localhost", "give ADDR:PORT"),
            ("", "give ADDR:PORT"),
            ("0.0.0.0", "the port is missing; give one, such as 0.0.0.0:8080"),
            ("::1", "the port is missing; give one, such as [::1]:8080"),
            (
                "::1:8080",
                "the port is missing; give one, such as [::1:8080]:8080, or [::1]:8080 if its last part is the port",
            ),
            ("[::1]", "the port is missing; give one, such as [::1]:8080"),
            ("localhost:http", "\"http\" is not a port; give ADDR:PORT"),
            ("localhost:99999", "\"99999\" is not a port; give ADDR:PORT"),
            ("http://localhost:8080", "\"http://localhost\" is neither an address nor a name; give ADDR:PORT"),
            ("*:8080", "\"*\" is neither an address nor a name"),
            ("nowhere.invalid:8080", "nowhere.invalid cannot be resolved: "),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }
}
