//! Standard error, whose disk may be full and whose reader may stand still.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::Error;

/// How many bytes of lines wait for whoever reads them. What comes then is lost.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// What a line takes beside its bytes.
const LINE: usize = 64;
/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Writes the log to standard error, from a thread of its own. A line that cannot be written, or for which there is no room
/// since nobody reads those before it, is lost and counted, and stops nobody: a decision would otherwise wait for a pipe that
/// stands still.
#[derive(Debug, Clone)]
pub struct Log {
    lines: Sender<Box<[u8]>>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
    /// How many lines were lost.
    pub(super) lost: IntCounter,
}

impl Log {
    /// A log to standard error that has lost nothing yet.
    pub fn new() -> Result<Self, Error> {
        Self::to(io::stderr())
    }

    /// A log to `out`. Not by way of tracing-appender: it bounds the number of lines and not what they take, and counts none
    /// that could not be written.
    fn to(out: impl Write + Send + 'static) -> Result<Self, Error> {
        let lost = IntCounter::new("log_lines_lost_total", "Lines of the log that could not be written.")?;
        let (lines, written) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = {
            let (waiting, lost) = (Arc::clone(&waiting), lost.clone());
            move || write(&written, out, &waiting, &lost)
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(writer).map_err(Error::Log)?;
        Ok(Self { lines, waiting, lost })
    }

    /// Waits until what was logged is written, but not for long.
    pub fn finish(&self) {
        let until = Instant::now() + LAST_LINES;
        while self.waiting.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Writes what comes until nobody logs any more.
fn write(lines: &Receiver<Box<[u8]>>, mut out: impl Write, waiting: &AtomicUsize, lost: &IntCounter) {
    for line in lines {
        if out.write_all(&line).is_err() {
            lost.inc();
        }
        waiting.fetch_sub(line.len() + LINE, Ordering::SeqCst);
    }
}

impl Write for Log {
    /// Takes a whole line. Never fails: tracing-subscriber would say so on standard error, and panic where that fails, too.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let room = line.len() + LINE;
        let before = self.waiting.fetch_add(room, Ordering::SeqCst);
        if before + room > MAX_WAITING || self.lines.send(line.into()).is_err() {
            self.waiting.fetch_sub(room, Ordering::SeqCst);
            self.lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes lines while it is not locked.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_keeps_nobody_waiting_and_what_has_no_room_is_counted() {
        let pipe = Pipe::default();
        let mut log = Log::to(pipe.clone()).unwrap();
        let still = pipe.0.lock().unwrap();
        let line = [b'x'; 1024 - LINE];
        let began = Instant::now();
        for _ in 0..5 * 1024 {
            log.write_all(&line).unwrap();
        }
        log.finish();
        assert!(began.elapsed() < LAST_LINES * 4);
        assert_eq!(log.lost.get(), 1024);
        drop(still);
        // Once it is read again nothing else is lost.
        while log.waiting.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        log.write_all(b"last").unwrap();
        log.finish();
        let written = pipe.0.lock().unwrap();
        assert_eq!((written.len(), log.lost.get()), (4 * 1024 * line.len() + 4, 1024));
        assert!(written.ends_with(b"last"));
    }
}
