//! Signals as events: SIGTERM and SIGINT stop, SIGHUP reloads.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Read the configuration again.
    Reload,
    /// Drain and end.
    Stop,
}

/// A second signal came during the drain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interrupted;

/// The signals of this process, in order.
pub(super) struct Events(Receiver<Event>);

/// Begins to catch signals. One that arrives before it is asked for is kept.
///
/// # Errors
/// The handlers cannot be installed.
pub(super) fn listen() -> io::Result<Events> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, events) = mpsc::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(Events(events))
}

impl Events {
    /// Waits for the next event.
    pub(super) fn next(&self) -> Event {
        // Without its thread no signal can arrive any more: stop rather than hang.
        self.0.recv().unwrap_or(Event::Stop)
    }

    /// Waits until `done` is told or gone; another stop meanwhile is an interruption.
    pub(super) fn wait_for_stop_or(&self, done: &Receiver<()>) -> Result<(), Interrupted> {
        loop {
            match done.recv_timeout(Duration::from_millis(20)) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match self.0.try_recv() {
                Ok(Event::Stop) => return Err(Interrupted),
                Ok(Event::Reload) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_stop_interrupts_and_a_reload_does_not() {
        let (sender, receiver) = mpsc::channel();
        let events = Events(receiver);
        let (drained, done) = mpsc::channel();
        sender.send(Event::Reload).unwrap();
        sender.send(Event::Stop).unwrap();
        assert_eq!(events.wait_for_stop_or(&done), Err(Interrupted));
        drained.send(()).unwrap();
        assert_eq!(events.wait_for_stop_or(&done), Ok(()));
        drop(drained);
        assert_eq!(events.wait_for_stop_or(&done), Ok(()));
        drop(sender);
        assert_eq!(events.next(), Event::Stop);
    }
}
