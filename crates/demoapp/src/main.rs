//! The sample application as a process: reads the environment, serves until told to stop.

use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // The one line a pod's log needs.
            #[expect(clippy::print_stderr, reason = "a program's last words")]
            {
                eprintln!("demoapp: {e}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let settings = weir_demoapp::Settings::read(|name| std::env::var(name).ok())?;
    let listener = TcpListener::bind((settings.address.as_str(), settings.port)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, weir_demoapp::router(settings))
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}
