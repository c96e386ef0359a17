//! Standard error, whose disk may be full.

use std::io::{self, Write};

use prometheus::IntCounter;

/// Writes the log to standard error. A line that cannot be written is lost and counted, and stops nobody:
/// tracing-subscriber itself would say so on standard error, and panic where that fails, too.
#[derive(Debug, Clone)]
pub struct Log {
    /// How many lines were lost.
    pub(super) lost: IntCounter,
}

impl Log {
    /// A log that has lost nothing yet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let lost = IntCounter::new("log_lines_lost_total", "Lines of the log that could not be written.")?;
        Ok(Self { lost })
    }
}

impl Write for Log {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().lock().write_all(line).is_err() {
            self.lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
