//! Connections: what the URL says, the settings that every connection has, TLS, and the pool.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::problem::Problem;

/// What a URL looks like.
const EXAMPLE: &str = "give a URL such as postgres://user:password@host:5432/database";

/// What libpq has other words for.
const VERIFIED: &str = "write `sslmode=require`, which verifies the server's certificate and host, and name a certificate that the \
                        system does not trust in the variable `SSL_CERT_FILE`";

/// How a store connects. A URL says where to; see [`PostgresStore::open`](crate::PostgresStore::open).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The largest number of connections, at least 1. Calls beyond it wait. 16 by default.
    pub connections: usize,
    /// The longest time to connect, which the servers in the URL share, and to wait for a free connection. 5 seconds by default.
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
    /// The file with the password, which is read for each connection, so that the password can be replaced while the store is open.
    /// The one in the URL is used while the file is empty or cannot be read. `None` by default.
    pub password_file: Option<PathBuf>,
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
            password_file: None,
        }
    }
}

/// Reads a URL and adds the settings of every connection.
pub fn config(url: &str, options: &PostgresOptions) -> Result<Config, Problem> {
    // The library's message does not repeat the URL, in which there is a password.
    let fix = if ["sslmode=verify-", "sslrootcert"].iter().any(|text| url.contains(text)) { VERIFIED } else { EXAMPLE };
    let invalid = |error: tokio_postgres::Error| Problem::access(Problem::from(error).to_string(), fix);
    let mut config: Config = url.parse().map_err(invalid)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Problem::access("its URL does not name a host", EXAMPLE));
    }
    // The rest of a password would be taken for a part of the host, and shown with it.
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
        return Err(Problem::access("its URL has an `@` in the user or the password", "write it as `%40` there"));
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

/// Returns the configuration with the password that is in its file now.
fn with_password(config: &Config, file: Option<&Path>) -> Config {
    let mut config = config.clone();
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let password = text.trim_end_matches(['\r', '\n']);
    if !password.is_empty() {
        config.password(password);
    }
    config
}

/// Makes the pool. It connects as connections are needed.
pub fn pool(config: Config, servers: Servers, options: &PostgresOptions) -> Result<Pool, Problem> {
    // A closed connection is noticed without a question to the server, and calls that may be repeated are, if one was missed.
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_connect(config, servers, recycling))
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

/// The servers of a URL, of which one accepts writes. One that does not answer keeps nobody from the others. The one that was
/// connected to last, by any clone, is asked first.
#[derive(Clone)]
pub struct Servers {
    /// The configuration of each.
    each: Arc<[Config]>,
    /// The file with the password, which is read for each connection.
    password_file: Option<Arc<Path>>,
    /// `None` if TLS is not needed for any.
    tls: Option<MakeRustlsConnect>,
    /// The longest time to connect to any of them.
    limit: Duration,
    last: Arc<AtomicUsize>,
}

impl Servers {
    /// Finds the servers of a configuration.
    pub fn of(config: &Config, options: &PostgresOptions) -> Result<Self, Problem> {
        let each = each(config);
        let tls = if each.iter().any(needs_tls) { Some(MakeRustlsConnect::new(tls()?)) } else { None };
        Ok(Self {
            each: each.into(),
            password_file: options.password_file.as_deref().map(Arc::from),
            tls,
            limit: options.connect_timeout,
            last: Arc::default(),
        })
    }

    /// Makes a connection that listens, outside the pool.
    pub async fn listener(&self) -> Result<(Client, Messages), Problem> {
        match timeout(self.limit, self.any()).await {
            Ok(connected) => connected.map_err(|error| Problem::of_connecting(&error)),
            Err(_) => Err(Problem::unreachable("the server did not answer in time")),
        }
    }

    /// Connects to the first one that answers and accepts writes. Each has its share of the time, and leaves what it does not use to
    /// those after it. The caller bounds the time of all.
    async fn any(&self) -> Result<(Client, Messages), tokio_postgres::Error> {
        let (count, first) = (self.each.len(), self.last.load(Ordering::Relaxed));
        let deadline = Instant::now() + self.limit;
        for tried in 1..count {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - tried + 1).unwrap_or(u32::MAX);
            if let Ok(Ok(connected)) = timeout(share, self.one((first + tried - 1) % count)).await {
                return Ok(connected);
            }
        }
        self.one((first + count - 1) % count).await
    }

    /// Connects to the server at that place.
    async fn one(&self, place: usize) -> Result<(Client, Messages), tokio_postgres::Error> {
        let config = with_password(&self.each[place], self.password_file.as_deref());
        let connected = if let Some(tls) = self.tls.clone().filter(|_| needs_tls(&config)) {
            let (client, mut connection) = config.connect(tls).await?;
            (client, stream::poll_fn(move |context| connection.poll_message(context)).boxed())
        } else {
            let (client, mut connection) = config.connect(NoTls).await?;
            (client, stream::poll_fn(move |context| connection.poll_message(context)).boxed())
        };
        self.last.store(place, Ordering::Relaxed);
        Ok(connected)
    }
}

/// For the pool, which gives its own configuration: that of all servers.
impl Connect for Servers {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            let (client, mut messages) = self.any().await?;
            // The call that is under way learns of an error, too.
            let driven = tokio::spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
            Ok((client, driven))
        })
    }
}

/// Returns a configuration for each of the servers that one names.
fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = [0, count].contains(&hosts.len())
        && [0, count].contains(&addresses.len())
        && [0, 1, count].contains(&ports.len());
    if count <= 1 || !fits {
        // The driver says what is wrong with numbers that do not fit each other.
        return vec![config.clone()];
    }
    let alone = |place: usize| {
        let mut alone = without_servers(config);
        match hosts.get(place) {
            Some(Host::Tcp(name)) => {
                alone.host(name);
            }
            #[cfg(unix)]
            Some(Host::Unix(path)) => {
                alone.host_path(path);
            }
            None => {}
        }
        if let Some(address) = addresses.get(place) {
            alone.hostaddr(*address);
        }
        if let Some(port) = ports.get(place).or(ports.first()) {
            alone.port(*port);
        }
        alone
    };
    (0..count).map(alone).collect()
}

/// Copies all of a configuration but where the servers are.
fn without_servers(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(name) = config.get_dbname() {
        copy.dbname(name);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(time) = config.get_connect_timeout() {
        copy.connect_timeout(*time);
    }
    if let Some(time) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*time);
    }
    if let Some(time) = config.get_keepalives_interval() {
        copy.keepalives_interval(time);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy
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
    fn each_server_of_a_url_is_asked_alone_with_the_settings_of_all() {
        let options = PostgresOptions::default();
        let all = "user=me password=p dbname=x sslmode=require options='-c lock_timeout=7' application_name=other";
        for (servers, expected) in [
            ("host=a,b port=1,2", vec!["host=a port=1", "host=b port=2"]),
            ("host=a,b,c port=5", vec!["host=a port=5", "host=b port=5", "host=c port=5"]),
            ("host=a,b hostaddr=10.0.0.1,10.0.0.2", vec!["host=a hostaddr=10.0.0.1", "host=b hostaddr=10.0.0.2"]),
            ("hostaddr=10.0.0.1,10.0.0.2 port=5", vec!["hostaddr=10.0.0.1 port=5", "hostaddr=10.0.0.2 port=5"]),
            ("host=a", vec!["host=a"]),
            // These are refused by the driver.
            ("host=a,b port=1,2,3", vec!["host=a,b port=1,2,3"]),
            ("host=a,b hostaddr=10.0.0.1", vec!["host=a,b hostaddr=10.0.0.1"]),
        ] {
            let read = |servers: &str| config(&format!("{all} {servers}"), &options).unwrap();
            let expected: Vec<_> = expected.into_iter().map(read).collect();
            assert!(each(&read(servers)) == expected, "{servers}");
        }
    }

    #[test]
    fn a_password_is_that_of_its_file_at_the_moment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = config("postgres://me:old@db/x", &PostgresOptions::default()).unwrap();
        let password = |file: Option<&Path>| {
            String::from_utf8(with_password(&config, file).get_password().unwrap().to_vec()).unwrap()
        };
        assert_eq!((password(None), password(Some(file.path()))), ("old".to_owned(), "old".to_owned()));
        for new in ["n w", "newer\n", "newest\r\n"] {
            std::fs::write(file.path(), new).unwrap();
            assert_eq!(password(Some(file.path())), new.trim_end());
        }
        assert_eq!(password(Some(Path::new("/nowhere"))), "old");
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
    fn a_password_is_not_taken_for_a_part_of_the_host() {
        let error =
            config("postgres://me:sec@ret@db/x", &PostgresOptions::default()).unwrap_err().at("the URL").to_string();
        assert!(error.ends_with("write it as `%40` there") && !error.contains("ret@"), "{error}");
        assert!(config("postgres://me:sec%40ret@db/x", &PostgresOptions::default()).is_ok());
    }

    #[test]
    fn a_url_of_libpq_with_a_certificate_says_what_to_write_here() {
        for setting in ["sslmode=verify-full", "sslmode=verify-ca", "sslmode=require&sslrootcert=/etc/ca.pem"] {
            let url = format!("postgres://me:secret@db/x?{setting}");
            let error = config(&url, &PostgresOptions::default()).unwrap_err().at("the URL").to_string();
            assert!(error.ends_with(VERIFIED) && !error.contains("me:secret"), "{error}");
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
