//! Connections: what the URL says, the settings that every connection has, TLS, and the pool.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::problem::Problem;

/// What a URL looks like.
const EXAMPLE: &str = "give a URL such as postgres://user:password@host:5432/database";

/// How a store connects. A URL says where to; see [`PostgresStore::open`](crate::PostgresStore::open).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The largest number of connections, at least 1. Calls beyond it wait. 16 by default.
    pub connections: usize,
    /// The longest time to connect, and to wait for a free connection. 5 seconds by default.
    pub connect_timeout: Duration,
    /// The longest time that a statement waits for a lock. 10 seconds by default.
    pub lock_timeout: Duration,
    /// The longest time that a statement takes; the server stops it then. 30 seconds by default.
    pub statement_timeout: Duration,
    /// The longest time that a call waits for the server. Its connection is closed then. Longer than `statement_timeout`, so
    /// that it ends only calls whose server is silent. 35 seconds by default.
    pub call_timeout: Duration,
    /// Whether to announce to other processes what was done, and to listen to them, by `NOTIFY` and `LISTEN`. A pooler in
    /// transaction mode does not pass them on. `true` by default.
    pub notify: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(35),
            notify: true,
        }
    }
}

/// Reads a URL and adds the settings of every connection.
pub fn config(url: &str, options: &PostgresOptions) -> Result<Config, Problem> {
    // The library's message does not repeat the URL, in which there is a password.
    let invalid = |error: tokio_postgres::Error| Problem::access(Problem::from(error).to_string(), EXAMPLE);
    let mut config: Config = url.parse().map_err(invalid)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Problem::access("its URL does not name a host", EXAMPLE));
    }
    config
        .connect_timeout(options.connect_timeout)
        // A connection whose other side is silent is noticed after 25 seconds, instead of 15 minutes or never.
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(15))
        // After a failover, not the server that has become a standby.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_application_name().is_none() {
        config.application_name("imgopen");
    }
    // Those of the URL come last and win. No statement here gains by compilation, which takes a multiple of its own time.
    let mut settings = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=30000 \
         -c default_transaction_isolation=read\\ committed -c jit=off",
        options.statement_timeout.as_millis(),
        options.lock_timeout.as_millis(),
    );
    if let Some(own) = config.get_options() {
        let _ = write!(settings, " {own}");
    }
    config.options(settings);
    Ok(config)
}

/// Where a configuration leads, without the password.
pub fn address(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect()
    } else {
        hosts.collect()
    };
    let ports: Vec<_> = config.get_ports().iter().map(ToString::to_string).collect();
    let port = if ports.is_empty() { String::new() } else { format!(":{}", ports.join(",")) };
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{}{port}/{database}", hosts.join(","))
}

/// Makes the pool. It connects as connections are needed.
pub fn pool(config: Config, options: &PostgresOptions) -> Result<Pool, Problem> {
    // A closed connection is noticed without a question to the server, and calls that may be repeated are, if one was missed.
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if needs_tls(&config) {
        Manager::from_config(config, MakeRustlsConnect::new(tls()?), recycling)
    } else {
        Manager::from_config(config, NoTls, recycling)
    };
    Pool::builder(manager)
        .max_size(options.connections.max(1))
        .wait_timeout(Some(options.connect_timeout))
        .create_timeout(Some(options.connect_timeout))
        .recycle_timeout(Some(options.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| Problem::failed(error.to_string()))
}

/// What a server sends without being asked. Reading it drives the connection.
pub type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// Makes a connection that listens, outside the pool.
pub async fn listener(config: &Config) -> Result<(Client, Messages), Problem> {
    let to_problem = |error: tokio_postgres::Error| Problem::of_connecting(&error);
    if needs_tls(config) {
        let (client, mut connection) = config.connect(MakeRustlsConnect::new(tls()?)).await.map_err(to_problem)?;
        Ok((client, stream::poll_fn(move |context| connection.poll_message(context)).boxed()))
    } else {
        let (client, mut connection) = config.connect(NoTls).await.map_err(to_problem)?;
        Ok((client, stream::poll_fn(move |context| connection.poll_message(context)).boxed()))
    }
}

/// Whether TLS may be spoken: not on the way through a socket of the same machine.
fn needs_tls(config: &Config) -> bool {
    let hosts = config.get_hosts();
    let is_local = !hosts.is_empty() && hosts.iter().all(|host| !matches!(host, Host::Tcp(_)));
    config.get_ssl_mode() != SslMode::Disable && !is_local
}

/// TLS with the certificates that the system trusts.
fn tls() -> Result<ClientConfig, Problem> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = builder.with_safe_default_protocol_versions().and_then(|builder| builder.with_platform_verifier());
    match config {
        Ok(config) => Ok(config.with_no_client_auth()),
        Err(error) => Err(Problem::access(
            format!("the certificates that the system trusts cannot be read: {error}"),
            "install them, as Debian's package `ca-certificates`, or add `sslmode=disable` to its URL",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_its_address_has_no_password() {
        for (url, address) in [
            ("postgres://me:secret@db.example.com:5433/imgopen", "postgres://db.example.com:5433/imgopen"),
            ("postgresql://me:secret@a,b/imgopen?sslmode=require", "postgres://a,b:5432,5432/imgopen"),
            ("host=db user=me password=secret", "postgres://db/me"),
        ] {
            let config = config(url, &PostgresOptions::default()).unwrap();
            assert_eq!(self::address(&config), address);
            assert!(needs_tls(&config), "{url}");
        }
        let disabled = config("postgres://me@db/x?sslmode=disable", &PostgresOptions::default()).unwrap();
        assert!(!needs_tls(&disabled));
        #[cfg(unix)]
        {
            let local = config("postgres://me@%2Frun%2Fpostgresql/x", &PostgresOptions::default()).unwrap();
            assert_eq!((address(&local).as_str(), needs_tls(&local)), ("postgres:///run/postgresql:5432/x", false));
        }
    }

    #[test]
    fn an_invalid_url_is_not_repeated() {
        for url in ["postgres://me:secret@db:port/x", "secret", "postgres://me:secret@db/x?secret=1", ""] {
            let error = config(url, &PostgresOptions::default()).unwrap_err().at("the URL").to_string();
            assert!(error.ends_with(EXAMPLE), "{error}");
            assert!(url.is_empty() || !error.contains("me:secret"), "{error}");
        }
    }

    #[test]
    fn the_settings_of_the_url_win() {
        let url = "postgres://me@db/x?options=-c%20lock_timeout%3D7&application_name=other";
        let config = config(url, &PostgresOptions::default()).unwrap();
        let settings = config.get_options().unwrap();
        assert!(settings.starts_with("-c statement_timeout=30000 -c lock_timeout=10000 "), "{settings}");
        assert!(settings.ends_with(" -c lock_timeout=7"), "{settings}");
        assert_eq!(config.get_application_name(), Some("other"));
    }
}
