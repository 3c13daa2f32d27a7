//! The header `Host`: there once, and of this machine if callers need no key.
//!
//! A page in a browser may have its own name resolve to this machine (DNS rebinding), and then call the service as if the
//! page came from it. A caller without a key is known by nothing else than being on this machine, so its request must name
//! it.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, Uri, Version};
use axum::middleware::Next;
use axum::response::Response;
use imgopen_server::Failure;

/// Which hosts are answered.
#[derive(Debug, Clone, Copy)]
pub struct Hosts {
    /// Whether callers need no key.
    pub is_open: bool,
}

impl Hosts {
    /// Rejects a request whose `Host` is missing, sent twice, or, in an open service, not this machine.
    pub fn admit<B>(self, request: &Request<B>) -> Result<(), Failure> {
        admit(self.is_open, request.version(), request.uri(), request.headers())
    }
}

/// Does that as a layer of a router that another server serves.
pub async fn check(State(hosts): State<Hosts>, request: Request<Body>, next: Next) -> Result<Response, Failure> {
    hosts.admit(&request)?;
    Ok(next.run(request).await)
}

fn admit(is_open: bool, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Failure::bad_request("the header `Host` is sent more than once; send it once")),
        (None, _) if version >= Version::HTTP_11 => {
            return Err(Failure::bad_request("the header `Host` is missing; HTTP/1.1 requires it"));
        }
        (host, _) => host,
    };
    if !is_open {
        return Ok(());
    }
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A request line with a whole URL counts more than the header.
    let is_local = is_loopback(host) && uri.authority().is_none_or(|target| is_loopback(target.as_str()));
    if is_local {
        return Ok(());
    }
    Err(Failure::forbidden(
        "the header `Host` does not name this machine; a service without keys (`--open`) answers at localhost, 127.0.0.1 \
         and [::1] only; call it there, or start it without `--open`",
    ))
}

/// Whether a host with or without a port is `localhost` or a loopback address.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            let is_address = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
            is_address || name.eq_ignore_ascii_case("localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn status(is_open: bool, version: Version, uri: &str, hosts: &[&'static str]) -> u16 {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        admit(is_open, version, &uri.parse().unwrap(), &headers)
            .map_or_else(|failure| failure.status().as_u16(), |()| 200)
    }

    #[test]
    fn an_open_service_answers_names_of_this_machine_only() {
        let open = |host| status(true, Version::HTTP_11, "/docs", &[host]);
        for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "127.9.9.9:80", "[::1]", "[::1]:8080"] {
            assert_eq!(open(host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "128.0.0.1",
            "0.0.0.0",
            "2130706433",
            "[::]",
            "[2001:db8::1]:80",
            "::1",
            "",
            "localhost evil.example",
        ] {
            assert_eq!(open(host), 403, "{host}");
        }
        assert_eq!(status(true, Version::HTTP_11, "http://evil.example/docs", &["localhost"]), 403);
        assert_eq!(status(true, Version::HTTP_11, "http://localhost/docs", &["localhost"]), 200);
        assert_eq!(status(true, Version::HTTP_10, "/docs", &[]), 403);
        assert_eq!(status(false, Version::HTTP_11, "/docs", &["evil.example"]), 200);
    }

    #[test]
    fn a_host_is_sent_once() {
        for is_open in [true, false] {
            assert_eq!(status(is_open, Version::HTTP_11, "/docs", &["localhost", "localhost"]), 400);
            assert_eq!(status(is_open, Version::HTTP_10, "/docs", &["localhost", "localhost"]), 400);
            assert_eq!(status(is_open, Version::HTTP_11, "/docs", &[]), 400);
        }
        // HTTP/1.0 knows no `Host`.
        assert_eq!(status(false, Version::HTTP_10, "/docs", &[]), 200);
    }
}
