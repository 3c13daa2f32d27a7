//! `imgopen serve`.

use anyhow::Context;
use imgopen_service::{Clock, LogForm, Service, Settings};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::engines::engines;
use super::{data, first_key};
use crate::args::serve::Serve;
use crate::{output, settings};

/// Runs the service until Ctrl-C or SIGTERM.
pub fn run(args: &Serve) -> anyhow::Result<()> {
    let settings = settings::load(args)?;
    data::keep_private();
    log(settings.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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
    let stop = stop()?;
    // A server that accepts callers without a key needs none.
    if !open {
        first_key::create(&service, &service.url(listener.local_addr()?)).await?;
    }
    // The reader of the output may be gone.
    let served = service.serve(listener, |url| drop(output::print(&format!("ready: {url}"))), stop).await;
    service.close().await;
    Ok(served?)
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
