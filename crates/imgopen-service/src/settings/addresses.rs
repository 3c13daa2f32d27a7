//! Addresses that an operator gives: where callers reach the service, and which web pages may call it.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

/// The origin of every page.
pub const EVERY_ORIGIN: &str = "*";

/// Returns the address that the URLs of pictures begin with, without a slash at its end.
///
/// # Errors
///
/// If it is not an HTTP URL, or has a part that nothing can follow. Says what to give; a password is not repeated.
pub fn base(text: &str) -> Result<String, String> {
    let not_a_url = || match text.contains('@') {
        true => "not a URL; give one such as `https://images.example.com`".to_owned(),
        false => format!("{text:?} is not a URL; give one such as `https://images.example.com`"),
    };
    let mut url = http_url(text).ok_or_else(not_a_url)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    let (query, fragment, port) = (url.query().is_some(), url.fragment().is_some(), url.port());
    url.set_query(None);
    url.set_fragment(None);
    // These fail only for URLs that have no host.
    let _ = (url.set_username(""), url.set_password(None));
    let _ = if port == Some(0) { url.set_port(None) } else { Ok(()) };
    let base = url.as_str().trim_end_matches('/').to_owned();
    let problems = [
        (has_user, "has a user name or password, which every URL of a picture would show"),
        (text.contains(char::is_whitespace), "has a blank in it"),
        (query, "has a query, after which no path can follow"),
        (fragment, "has a fragment, after which no path can follow"),
        (port == Some(0), "has the port 0, at which nothing can be reached"),
    ];
    match problems.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, problem)) => Err(format!("the URL {problem}; give `{base}`")),
        None => Ok(base),
    }
}

/// Returns an origin as browsers send it.
///
/// # Errors
///
/// If it is not one. Says what to give.
pub fn origin(text: &str) -> Result<String, String> {
    let invalid = |problem: &str| Err(format!("{text:?} {problem}"));
    match text {
        EVERY_ORIGIN => return Ok(text.to_owned()),
        // The text is not repeated, because a password may be in it.
        _ if text.contains('@') => {
            return Err(
                "an origin has no user and no password; give a scheme and a host, such as `https://app.example.com`"
                    .to_owned(),
            );
        }
        "null" => return invalid("stands for files and other pages without an origin; serve the page, or give `*`"),
        _ if text.contains('*') => return invalid("has a `*` in it; list each origin, or give `*` for all"),
        _ => {}
    }
    let url = Url::parse(text).ok().filter(|url| !text.contains(char::is_whitespace) && url.has_host());
    let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str().filter(|host| !host.is_empty())?)))
    else {
        return invalid("is not an origin; give a scheme and a host, such as `https://app.example.com`");
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{}://{host}{port}", url.scheme());
    let is_more = !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some();
    if is_more {
        return Err(format!("an origin is a scheme, a host and a port, and nothing more; give `{origin}`"));
    }
    Ok(origin)
}

/// Reads a private network, such as `10.1.0.0/16`. An address is the network of that address alone.
///
/// # Errors
///
/// If it is neither. Says what to give.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().ok().map(IpNet::from);
    address.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("{text:?} is not a network; give one such as 10.1.0.0/16, or an address alone, such as 127.0.0.1")
    })
}

fn http_url(text: &str) -> Option<Url> {
    let names_a_host = |url: &Url| url.host_str().is_some_and(|host| !host.is_empty() && !host.contains('*'));
    Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && names_a_host(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_http_url_that_a_path_can_follow() {
        for (text, expected) in [
            ("https://images.example.com", "https://images.example.com"),
            ("https://images.example.com/", "https://images.example.com"),
            ("HTTPS://Images.Example.com//", "https://images.example.com"),
            ("Http://[::1]:8080/img/open/", "http://[::1]:8080/img/open"),
            ("http://example.com:80/Bilder/é", "http://example.com/Bilder/%C3%A9"),
            ("https://example.com/a%20b", "https://example.com/a%20b"),
        ] {
            assert_eq!(base(text).as_deref(), Ok(expected), "{text}");
        }
        let none = ["images.example.com", "images.example.com:8080", "ftp://example.com", "https://", "", "/images"];
        for text in none.into_iter().chain(["https://*.example.com", "http://*:8080"]) {
            let error = base(text).unwrap_err();
            assert_eq!(error, format!("{text:?} is not a URL; give one such as `https://images.example.com`"));
        }
        for (text, problem, fix) in [
            ("https://x.example/a b", "a blank", "https://x.example/a%20b"),
            (" https://x.example", "a blank", "https://x.example"),
            ("https://x.example/a\n", "a blank", "https://x.example/a"),
            ("https://x.example/base/?q=1", "a query", "https://x.example/base"),
            ("https://x.example?", "a query", "https://x.example"),
            ("https://x.example/#top", "a fragment", "https://x.example"),
            ("https://x.example#", "a fragment", "https://x.example"),
            ("https://x.example:0/a", "the port 0", "https://x.example/a"),
            ("https://me@x.example/a", "a user name or password", "https://x.example/a"),
            ("https://me:hunter2@x.example/?q", "a user name or password", "https://x.example"),
        ] {
            let error = base(text).unwrap_err();
            assert!(error.contains(problem) && error.ends_with(&format!("; give `{fix}`")), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!base("me:hunter2@x.example").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_network_may_be_an_address() {
        for (text, expected) in [
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0", "home", "10.0.0.1:80", "[::1]"] {
            let error = network(text).unwrap_err();
            assert!(error.starts_with(&format!("{text:?} is not a network; give one such as ")), "{error}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for (text, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443/", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("*", "*"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, problem) in [
            ("app.example.com", "give a scheme and a host"),
            ("localhost:3000", "give a scheme and a host"),
            ("", "give a scheme and a host"),
            ("https://a.example https://b.example", "give a scheme and a host"),
            ("file:///home/me/page.html", "give a scheme and a host"),
            ("null", "stands for files"),
            ("https://*.example.com", "list each origin"),
            ("https://app.example.com/page", "give `https://app.example.com`"),
            ("https://app.example.com?q", "give `https://app.example.com`"),
            ("https://me:hunter2@app.example.com", "no user and no password"),
            ("https://me:hunter2@*.example.com", "no user and no password"),
        ] {
            let error = origin(text).unwrap_err();
            assert!(error.contains(problem) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
