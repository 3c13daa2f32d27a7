//! `imgopen serve`.

use anyhow::Context;
use imgopen_engine::Registry;
use imgopen_service::{Clock, LogForm, NewKey, Service, Settings};
use imgopen_tools::Sandbox;
use tokio::net::TcpListener;

use crate::{args, config, output};
use tracing_subscriber::EnvFilter;

/// What the first key is called.
const FIRST_KEY: &str = "made at the first start";

/// Runs the service until it is told to stop.
pub fn run(flags: &args::Serve) -> anyhow::Result<()> {
    let settings = config::load(flags)?;
    log(settings.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(settings));
    // An engine that hangs must not keep the process; its task is back in the queue.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (listen, sandbox, open) = (settings.listen, settings.sandbox, settings.open);
    let service = Service::open(settings, Clock::system(), engines(sandbox)).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; give another address or port with --listen"))?;
    // Whoever needs no key is not shown one.
    let key = if open { None } else { service.keys().create_first(FIRST_KEY).await? };
    let stop = stop()?;
    greet(&service.url(listener.local_addr()?), key.as_ref())?;
    // Nobody may be reading any more.
    service.serve(listener, |url| drop(output::print(&format!("ready: {url}"))), stop).await?;
    Ok(())
}

/// The engines, the better ones first.
pub fn engines(sandbox: bool) -> Registry {
    let classical = imgopen_tools::classical();
    if sandbox { classical.with(Sandbox::new()) } else { classical }
}

/// Shows the key as soon as there is one: it is not to be had again.
fn greet(url: &str, key: Option<&NewKey>) -> anyhow::Result<()> {
    let Some(key) = key else { return Ok(()) };
    output::print(&format!(
        "An access key, shown this once (`imgopen keys create` makes more):\n\n\
             export IMGOPEN_BASE_URL={url}\n\
             export IMGOPEN_ACCESS_KEY_ID={}\n\
             export IMGOPEN_ACCESS_KEY_SECRET={}\n\
             export IMGOPEN_SIGNING_SECRET={}\n\n\
             The reference of the API is at {url}/docs.\n\n",
        key.credentials.access_key_id(),
        key.credentials.expose_secret(),
        key.signing_secret,
    ))
}

/// Ends at Ctrl-C or SIGTERM; a second one ends the process at once.
fn stop() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut once = async move || {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(async move {
        once().await;
        tokio::spawn(async move {
            once().await;
            std::process::exit(1);
        });
    })
}

fn log(form: LogForm) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match form {
        LogForm::Human => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogForm::Json => log.json().init(),
    }
}
