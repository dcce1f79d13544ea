//! Messages to standard output: collected while more are at hand, written when there is a pause.

use std::io::{self, Write};

use jiff::Zoned;
use tercet_client::mqtt::Message;

use super::json;
use super::settings::{Form, Output};

/// Written at this size even without a pause.
const FULL: usize = 64 * 1024;

/// Standard output as this run uses it.
pub(super) struct Printer<W> {
    output: Output,
    buffer: Vec<u8>,
    sink: W,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Printed {
    Shown,
    /// `%J`, and the payload is not JSON; the rest of the format was printed.
    NotJson,
}

impl Printer<io::Stdout> {
    pub(super) fn stdout(output: Output) -> Self {
        Self::new(output, io::stdout())
    }
}

impl<W: Write> Printer<W> {
    fn new(output: Output, sink: W) -> Self {
        Self { output, buffer: Vec::with_capacity(FULL), sink }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Those of standard output, when the buffer is full.
    pub(super) fn print(&mut self, message: &Message) -> io::Result<Printed> {
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
            self.flush()?;
        }
        Ok(printed)
    }

    /// Writes what was collected.
    ///
    /// # Errors
    /// Those of standard output.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.sink.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, newline: bool, payload: &'static str) -> String {
        let mut printer = Printer::new(Output { form, newline }, Vec::new());
        printer.print(&Message::new("a/b", payload)).unwrap();
        printer.flush().unwrap();
        String::from_utf8(printer.sink).unwrap()
    }

    #[test]
    fn forms_and_line_ends() {
        for (form, newline, payload, want) in [
            (Form::Payload, true, "x", "x\n"),
            (Form::Payload, false, "x", "x"),
            (Form::Payload, true, "", ""),
            (Form::Verbose, true, "x", "a/b x\n"),
            (Form::Verbose, false, "x", "a/b x"),
            (Form::Verbose, true, "", "a/b (null)\n"),
            (Form::Verbose, false, "", ""),
        ] {
            assert_eq!(shown(form.clone(), newline, payload), want, "{form:?} {newline} {payload:?}");
        }
        assert!(shown(Form::Json { pretty: false }, true, "x").starts_with("{\"time\":\""));
    }

    #[test]
    fn a_full_buffer_is_written_without_a_pause() {
        let mut printer = Printer::new(Output { form: Form::Payload, newline: true }, Vec::new());
        for _ in 0..3 {
            printer.print(&Message::new("t", vec![b'x'; FULL])).unwrap();
        }
        assert!(printer.sink.len() >= 3 * FULL);
    }
}
