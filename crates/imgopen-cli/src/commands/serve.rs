//! `imgopen serve`.

use anyhow::Context;
use imgopen_service::{Clock, LogForm, NewKey, Service, Settings};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::engines::engines;
use crate::args::serve::Serve;
use crate::{output, runtime, settings};

/// The name of the first key.
const FIRST_KEY: &str = "created at the first start";

/// Runs the service until Ctrl-C or SIGTERM.
pub fn run(args: &Serve) -> anyhow::Result<()> {
    let settings = settings::load(args)?;
    let runtime = runtime::for_service()?;
    log(settings.log);
    let outcome = runtime.block_on(serve(settings));
    // An engine that hangs must not block the exit; its task was handed back.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (listen, sandbox, open) = (settings.listen, settings.sandbox, settings.open);
    let service = Service::open(settings, Clock::system(), engines(sandbox)).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; give another address or port with --listen"))?;
    // A server that accepts callers without a key prints none.
    let key = if open { None } else { service.keys().create_first(FIRST_KEY).await? };
    let stop = stop()?;
    greet(&service.url(listener.local_addr()?), key.as_ref())?;
    // The reader of the output may be gone.
    service.serve(listener, |url| drop(output::print(&format!("ready: {url}"))), stop).await?;
    Ok(())
}

/// Prints the first key before anything can fail, because its secrets are not shown again.
fn greet(url: &str, key: Option<&NewKey>) -> anyhow::Result<()> {
    let Some(key) = key else { return Ok(()) };
    output::print(&format!(
        "An access key, not shown again (`imgopen keys create` creates more):\n\n\
             export IMGOPEN_BASE_URL={url}\n\
             export IMGOPEN_ACCESS_KEY_ID={}\n\
             export IMGOPEN_ACCESS_KEY_SECRET={}\n\
             export IMGOPEN_SIGNING_SECRET={}\n\n\
             The API reference is at {url}/docs.\n\n",
        key.credentials.access_key_id(),
        key.credentials.expose_secret(),
        key.signing_secret,
    ))
}

/// Resolves on Ctrl-C or SIGTERM; a second one ends the process immediately.
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
