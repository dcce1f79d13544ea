//! Messages to standard output: collected while more are at hand, written when there is a pause.
//!
//! Whoever reads our output may be slow or stopped for a while (`| less`). A thread of tokio's waits for it then, so that
//! the connection is kept alive meanwhile and signals are heard; the messages wait in the client's inbox, and beyond
//! that at the broker.

use std::io;

use jiff::Zoned;
use tercet_client::mqtt::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt, Stdout};

use super::json;
use super::settings::{Form, Output};

/// Written at this size even without a pause.
const FULL: usize = 64 * 1024;

/// Standard output as this run uses it.
pub(super) struct Printer<W> {
    output: Output,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
    sink: W,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Printed {
    Shown,
    /// `%J`, and the payload is not JSON; the rest of the format was printed.
    NotJson,
}

impl Printer<Stdout> {
    pub(super) fn stdout(output: Output) -> Self {
        Self::new(output, tokio::io::stdout())
    }
}

impl<W: AsyncWrite + Unpin> Printer<W> {
    fn new(output: Output, sink: W) -> Self {
        Self { output, buffer: Vec::with_capacity(FULL), written: 0, sink }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Those of standard output, when the buffer is full.
    pub(super) async fn print(&mut self, message: &Message) -> io::Result<Printed> {
        let mut printed = Printed::Shown;
        let newline = self.output.newline;
        let ended = match &self.output.form {
            // As the Mosquitto clients: an empty payload prints nothing, not even the end of a line.
            Form::Payload => {
                self.buffer.extend_from_slice(&message.payload);
                !message.payload.is_empty()
            }
            Form::Verbose if message.payload.is_empty() => {
                if newline {
                    self.buffer.extend_from_slice(message.topic.as_bytes());
                    self.buffer.extend_from_slice(b" (null)");
                }
                true
            }
            Form::Verbose => {
                self.buffer.extend_from_slice(message.topic.as_bytes());
                self.buffer.push(b' ');
                self.buffer.extend_from_slice(&message.payload);
                true
            }
            Form::Template(template) => {
                if template.render(message, Zoned::now, &mut self.buffer).is_err() {
                    printed = Printed::NotJson;
                }
                true
            }
            Form::Json { pretty } => {
                json::tercet(message, &Zoned::now(), *pretty, &mut self.buffer);
                true
            }
        };
        if ended && newline {
            self.buffer.push(b'\n');
        }
        if self.buffer.len() >= FULL {
            self.flush().await?;
        }
        Ok(printed)
    }

    /// Writes what was collected. May be dropped before it is done; the next one goes on where it was.
    ///
    /// # Errors
    /// Those of standard output.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += match self.sink.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => n,
            };
        }
        self.buffer.clear();
        self.written = 0;
        self.sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(form: Form, newline: bool, payload: &'static str) -> String {
        let mut printer = Printer::new(Output { form, newline }, Vec::new());
        printer.print(&Message::new("a/b", payload)).await.unwrap();
        printer.flush().await.unwrap();
        String::from_utf8(printer.sink).unwrap()
    }

    #[tokio::test]
    async fn forms_and_line_ends() {
        for (form, newline, payload, want) in [
            (Form::Payload, true, "x", "x\n"),
            (Form::Payload, false, "x", "x"),
            (Form::Payload, true, "", ""),
            (Form::Verbose, true, "x", "a/b x\n"),
            (Form::Verbose, false, "x", "a/b x"),
            (Form::Verbose, true, "", "a/b (null)\n"),
            (Form::Verbose, false, "", ""),
        ] {
            assert_eq!(shown(form.clone(), newline, payload).await, want, "{form:?} {newline} {payload:?}");
        }
        assert!(shown(Form::Json { pretty: false }, true, "x").await.starts_with("{\"time\":\""));
    }

    #[tokio::test]
    async fn a_full_buffer_is_written_without_a_pause() {
        let mut printer = Printer::new(Output { form: Form::Payload, newline: true }, Vec::new());
        for _ in 0..3 {
            printer.print(&Message::new("t", vec![b'x'; FULL])).await.unwrap();
        }
        assert!(printer.sink.len() >= 3 * FULL);
    }

    #[tokio::test]
    async fn an_interrupted_flush_goes_on_where_it_was() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut printer = Printer::new(Output { form: Form::Payload, newline: true }, near);
        printer.print(&Message::new("t", "0123456789abcdef")).await.unwrap();
        // Nobody reads: the first ten bytes fit, and the flush is given up.
        tokio::select! {
            biased;
            _ = printer.flush() => panic!("written to nobody"),
            () = std::future::ready(()) => {}
        }
        let read = tokio::spawn(async move {
            let mut all = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut far, &mut all).await.unwrap();
            all
        });
        printer.flush().await.unwrap();
        drop(printer);
        assert_eq!(read.await.unwrap(), "0123456789abcdef\n");
    }
}
