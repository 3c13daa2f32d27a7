//! `imgopen serve`.

use anyhow::Context;
use imgopen_service::{Clock, Service};
use tokio::net::TcpListener;

use super::engines::engines;
use super::{data, first_key};
use crate::args::serve::Serve;
use crate::settings::{self, Loaded};
use crate::{log, output, runtime};

/// Runs the service until Ctrl-C or SIGTERM.
pub fn run(args: &Serve) -> anyhow::Result<()> {
    let loaded = settings::load(args)?;
    data::keep_private();
    // Before the log, which has a thread: if there cannot be any, this says so.
    let runtime = runtime::for_service()?;
    let _log = log::start(loaded.service.log);
    let outcome = runtime.block_on(serve(loaded));
    // An engine that hangs must not block the exit; its task was handed back.
    runtime.shutdown_background();
    outcome
}

async fn serve(Loaded { service: settings, backends }: Loaded) -> anyhow::Result<()> {
    let (listen, open, answers_calls) = (settings.listen, settings.open, settings.role.answers_calls());
    let engines = engines(&settings, &backends, Service::library(&settings)?).await?;
    let service = Service::open(settings, Clock::system(), engines).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; give another address or port with --listen"))?;
    let stop = stop()?;
    // A server that accepts callers without a key needs none, and one that accepts no callers.
    if !open && answers_calls {
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
