//! Writing to people and programs: data to stdout, talk to stderr.

use std::io::{self, Write};

use crate::exit::Failure;

/// Writes data to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line, or several, to stderr. There is nowhere to report that this failed.
pub(crate) fn talk(text: &str) {
    let mut text = text.to_owned();
    text.push('\n');
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
