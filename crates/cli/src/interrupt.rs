//! Ctrl-C and its like, for commands that go on until they are told to end.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when somebody asks the program to end (SIGINT, SIGTERM).
pub(crate) async fn interrupted() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signals end the program by themselves.
        _ => std::future::pending().await,
    }
}
