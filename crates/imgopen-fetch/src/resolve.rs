//! Resolves names to permitted addresses. Connections go to the addresses that were checked; nothing is resolved twice.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::Guard;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// A resolver that returns only the addresses that the guard permits.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    guard: Guard,
    lookup: Arc<dyn Fn(String) -> Lookup + Send + Sync>,
}

/// Why a name has no address to connect to. reqwest carries it as the cause of its own error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("it resolves to {address}, {kind}")]
    Refused { address: IpAddr, kind: &'static str },
    #[error("{0}")]
    NotFound(io::Error),
}

impl GuardedResolver {
    pub(crate) fn new<L, F>(guard: Guard, lookup: L) -> Self
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self { guard, lookup: Arc::new(move |name| Box::pin(lookup(name))) }
    }
}

/// Resolves a name with the system's resolver.
pub(crate) async fn by_system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let lookup = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let found = lookup.await.map_err(NoAddress::NotFound)?;
            let permitted = permitted(&guard, found)?;
            // Port 0 means the URL's port.
            Ok(Box::new(permitted.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// Returns the permitted addresses. Names with public and private addresses are common, so such a name is not rejected; its
/// private addresses are never connected to.
fn permitted(guard: &Guard, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, NoAddress> {
    let (permitted, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|ip| guard.permits(*ip));
    let why = |address: &IpAddr| guard.refusal(*address).map(|kind| NoAddress::Refused { address: *address, kind });
    match (permitted.is_empty(), refused.first().and_then(why)) {
        (false, _) => Ok(permitted),
        (true, Some(refusal)) => Err(refusal),
        (true, None) => Err(NoAddress::NotFound(io::Error::other("the name has no address"))),
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").field("guard", &self.guard).finish_non_exhaustive()
    }
}
